//! A prompt that begins with the text generated before: only what is behind it is computed, where that text is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_wire::{Control, Resume};

use crate::cluster::device::Device;
use crate::cluster::generation::conversation::CachedConversation;
use crate::cluster::generation::token_sink::{StreamError, listen};
use crate::cluster::generation::token_source;
use crate::cluster::generation::token_source::TokenSource;
use crate::cluster::placement::choose::weights;
use crate::cluster::request::coordinator::Coordinator;
use crate::cluster::request::error::RequestError;
use crate::cluster::request::part::packed;
use crate::cluster::request::prompt::Prompt;
use crate::cluster::request::prompt::PromptReply;
use crate::cluster::request::summary;
use crate::generate::Prefill;
use crate::link::encode;

impl Coordinator {
    /// Goes on behind the text generated before, where that is faster than computing the prompt anew. `None` if it is not, or
    /// the device that has the text no longer has it.
    pub(crate) async fn continue_conversation(
        &self,
        work: &Prompt,
        before: Option<CachedConversation>,
    ) -> Result<Option<PromptReply>, RequestError> {
        let Some(before) =
            before.filter(|before| before.rung == 0 || before.rung == work.base.limits.rung)
        else {
            return Ok(None);
        };
        let device = self.device();
        if !work.pays_off(device, &before)? {
            return Ok(None);
        }
        let Some(engaged) = self.engage(work.base.limits.deadline).await else {
            return Ok(None);
        };
        let begun = Instant::now();
        // What is in the cache may be of another coordinator's text by now: it is to be as exact as this one's was.
        let rung = before.rung;
        let mut source = if before.candidate.device == device.id() {
            TokenSource::here(device, work.task(Prefill::Cached { rung }))
        } else {
            match work.resume(device, &before).await {
                Some(source) => source,
                None => return Ok(None),
            }
        };
        let until = work.first_until(device, before.candidate.speed);
        let heard = match listen(&mut source, &work.tokens, Some(until)).await {
            Ok(heard) => heard,
            Err(StreamError::Failed { text, tokens }) if tokens > 0 => {
                return Err(work.broke_off(&before.candidate.name, tokens, text));
            }
            // Before the first token it can still be done in another way.
            Err(_) => {
                source.stop();
                return Ok(None);
            }
        };
        drop(engaged);
        let mut report = summary::report(device, &work.base.limits, Duration::ZERO, begun);
        let member = work.one_member(before.candidate.clone(), &heard);
        let name = &before.candidate.name;
        let why = format!("{name} has the beginning of the text from before");
        summary::of_one(&mut report, member, before.rung, why);
        let reply = work.reply(heard, begun, report, before.candidate, before.rung);
        Ok(Some(reply))
    }
}

impl Prompt {
    fn pays_off(&self, device: &Device, before: &CachedConversation) -> Result<bool, RequestError> {
        let prompt = &self.question.prompt;
        let same = before.tokens.iter().zip(prompt);
        let same = same.take_while(|(a, b)| a == b).count();
        let usable = device.roster().usable();
        let here = before.candidate.device == device.id();
        let elsewhere =
            self.base.placement_request.max_members != 1 && usable.contains(&before.candidate);
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
        let behind = model.seconds_behind(same, prompt.len(), before.candidate.speed);
        Ok(behind <= anew)
    }

    /// Asks the device that has the text.
    async fn resume(
        &self,
        device: &Arc<Device>,
        before: &CachedConversation,
    ) -> Option<TokenSource> {
        let ids = packed(&self.question.prompt);
        let (plan, request) = (rand::random(), 0);
        let message = Control::Resume(Resume {
            plan,
            request,
            rung: before.rung,
            generate: token_source::generate(self.question.max_tokens, &self.question.sampling),
            ids: &ids,
        });
        let other = before.candidate.device;
        let version = device.roster().version_for(other)?;
        let message = encode(version, &message).ok()?;
        let answers = device.link().ask_stream(other, "", message, self.longest());
        let answers = answers.await.ok()?;
        Some(TokenSource::there(
            device,
            other,
            version,
            (plan, request),
            answers,
        ))
    }
}
