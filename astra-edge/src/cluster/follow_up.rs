//! A prompt that begins with the text generated before: only what is behind it is computed, where that text is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_wire::{Control, Resume};

use super::choose::weights;
use super::coordinator::{Coordinator, RequestError};
use super::device::{Device, encode};
use super::listen::{Broken, listen};
use super::part::packed;
use super::prompt::{Prompt, Reply};
use super::speaker::{self, Speaker};
use super::summary;
use super::text::Spoke;
use super::work::Work;
use crate::generate::Prefill;

impl Coordinator {
    /// Goes on behind the text generated before, where that is faster than computing the prompt anew. `None` if it is not, or
    /// the device that has the text no longer has it.
    pub(super) async fn go_on(
        &self,
        work: &Prompt,
        before: Option<Spoke>,
    ) -> Result<Option<Reply>, RequestError> {
        let Some(before) =
            before.filter(|before| before.rung == 0 || before.rung == work.asked.rung)
        else {
            return Ok(None);
        };
        let device = self.device();
        if !work.pays_off(device, &before)? {
            return Ok(None);
        }
        let Some(engaged) = self.engage(work.asked.deadline).await else {
            return Ok(None);
        };
        let begun = Instant::now();
        // What is in the cache may be of another coordinator's text by now: it is to be as exact as this one's was.
        let rung = before.rung;
        let mut speaker = if before.candidate.device == device.id() {
            Speaker::here(device, work.task(Prefill::Cached { rung }))
        } else {
            match work.resume(device, &before).await {
                Some(speaker) => speaker,
                None => return Ok(None),
            }
        };
        let until = work.first_until(device, before.candidate.speed);
        let heard = match listen(&mut speaker, &work.tokens, Some(until)).await {
            Ok(heard) => heard,
            Err(Broken::Failed { text, tokens }) if tokens > 0 => {
                return Err(work.broke_off(&before.candidate.name, tokens, text));
            }
            // Before the first token it can still be done in another way.
            Err(_) => {
                speaker.stop();
                return Ok(None);
            }
        };
        drop(engaged);
        let mut report = summary::report(device, &work.asked, Duration::ZERO, begun);
        let member = work.one_member(before.candidate.clone(), &heard);
        let name = &before.candidate.name;
        let why = format!("{name} has the beginning of the text from before");
        summary::of_one(&mut report, member, before.rung, why);
        let reply = work.reply(heard, begun, report, before.candidate, before.rung);
        Ok(Some(reply))
    }
}

impl Prompt {
    fn pays_off(&self, device: &Device, before: &Spoke) -> Result<bool, RequestError> {
        let prompt = &self.question.prompt;
        let same = before.tokens.iter().zip(prompt);
        let same = same.take_while(|(a, b)| a == b).count();
        let usable = device.roster().usable();
        let here = before.candidate.device == device.id();
        let elsewhere = self.wish.max_members != 1 && usable.contains(&before.candidate);
        let there = here || elsewhere;
        if same == 0 || !there || self.wish.shares.is_some() {
            return Ok(false);
        }
        let model = device.text_model(self.asked.rung);
        let choice = self.choose(device, &usable, &self.wish)?;
        let anew = if choice.is_alone() {
            model.seconds_behind(0, prompt.len(), device.speed)
        } else {
            model.seconds(&choice.ranges, &weights(&choice.members))
        };
        let behind = model.seconds_behind(same, prompt.len(), before.candidate.speed);
        Ok(behind <= anew)
    }

    /// Asks the device that has the text.
    async fn resume(&self, device: &Arc<Device>, before: &Spoke) -> Option<Speaker> {
        let ids = packed(&self.question.prompt);
        let (plan, request) = (rand::random(), 0);
        let message = Control::Resume(Resume {
            plan,
            request,
            rung: before.rung,
            generate: speaker::generate(self.question.max_tokens, &self.question.sampling),
            ids: &ids,
        });
        let other = before.candidate.device;
        let message = encode(&message).ok()?;
        let answers = device.link.ask_stream(other, "", message, self.longest());
        let answers = answers.await.ok()?;
        Some(Speaker::there(device, other, (plan, request), answers))
    }
}
