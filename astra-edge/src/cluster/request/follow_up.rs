//! A prompt that continues the conversation in a KV cache: only its new tokens are computed, on the device that has the cache.

use std::time::{Duration, Instant};

use crate::cluster::device::Device;
use crate::cluster::generation::conversation::CachedConversation;
use crate::cluster::generation::token_sink::{StreamError, forward};
use crate::cluster::placement::choose::weights;
use crate::cluster::request::coordinator::Coordinator;
use crate::cluster::request::error::RequestError;
use crate::cluster::request::generation_outcome::{broke_off, only_member};
use crate::cluster::request::prompt::{GenerationReply, GenerationWork};
use crate::cluster::request::summary;
use crate::generation::Prefill;

impl Coordinator {
    /// Continues a cached conversation, where that is faster than computing the whole prompt. `None` if it is not, or the device no longer
    /// has the conversation.
    pub(crate) async fn continue_conversation(
        &self,
        work: &GenerationWork,
        conversation: Option<CachedConversation>,
    ) -> Result<Option<GenerationReply>, RequestError> {
        let rung = work.base.limits.rung;
        let usable = |cached: &CachedConversation| [0, rung].contains(&cached.rung);
        let Some(cached) = conversation.filter(usable) else {
            return Ok(None);
        };
        let device = self.device();
        if !work.pays_off(device, &cached)? {
            return Ok(None);
        }
        let Some(engaged) = self.engage(work.base.limits.deadline).await else {
            return Ok(None);
        };
        let begun = Instant::now();
        // The cache may hold another coordinator's text by now: it has to be as exact as this one's was.
        let rung = cached.rung;
        let mut source = if cached.candidate.device == device.id() {
            work.start_local(device, Prefill::Cached { rung })
        } else {
            match work.resume(device, &cached).await {
                Some(source) => source,
                None => return Ok(None),
            }
        };
        let until = work.first_until(device, cached.candidate.speed);
        let received = match forward(&mut source, &work.tokens, Some(until)).await {
            Ok(received) => received,
            Err(StreamError::Failed { text, tokens }) if tokens > 0 => {
                return Err(broke_off(&cached.candidate, tokens, text));
            }
            // Before the first token the request can still run in another way.
            Err(_) => {
                source.cancel();
                return Ok(None);
            }
        };
        drop(engaged);
        let mut report = summary::report(device, &work.base.limits, Duration::ZERO, begun);
        let member = only_member(&cached.candidate, work.request.prompt.len(), &received);
        let name = &cached.candidate.name;
        let why = format!("{name} has the beginning of the text from before");
        summary::of_one(&mut report, member, cached.rung, why);
        let reply = work.reply(received, begun, report, cached.candidate, cached.rung);
        Ok(Some(reply))
    }
}

impl GenerationWork {
    /// Whether continuing is no slower than computing the whole prompt.
    fn pays_off(&self, device: &Device, cached: &CachedConversation) -> Result<bool, RequestError> {
        let prompt = &self.request.prompt;
        let same = cached.tokens.iter().zip(prompt);
        let same = same.take_while(|(a, b)| a == b).count();
        let usable = device.roster().usable();
        let here = cached.candidate.device == device.id();
        let elsewhere =
            self.base.placement_request.max_members != 1 && usable.contains(&cached.candidate);
        let there = here || elsewhere;
        if same == 0 || !there || self.base.placement_request.shares.is_some() {
            return Ok(false);
        }
        let model = device.text_model(self.base.limits.rung);
        let placement = self
            .base
            .place(device, &usable, &self.base.placement_request)?;
        let anew = if placement.is_local() {
            model.seconds_behind(0, prompt.len(), device.speed)
        } else {
            model.seconds(&placement.ranges, &weights(&placement.members))
        };
        let continued = model.seconds_behind(same, prompt.len(), cached.candidate.speed);
        Ok(continued <= anew)
    }
}
