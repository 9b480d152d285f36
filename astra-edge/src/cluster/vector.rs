//! A text on its way to a vector.

use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_bundle::Embedding;

use super::choose::{Choice, ChooseError, Wish};
use super::choose_text::choose_for_text;
use super::coordinator::RequestError;
use super::device::Device;
use super::request;
use super::roster::Candidate;
use super::setup::ActivePlan;
use super::summary;
use super::text::Embedded;
use super::work::{Asked, Ran, Work};
use crate::engine::OwnedInput;
use crate::plan::TokenRange;
use crate::tasks::embedding::{pooled, vector};

/// A text on its way.
pub(super) struct Text {
    asked: Asked,
    wish: Wish,
    tokens: usize,
    input: Arc<OwnedInput>,
    embedding: Embedding,
}

impl Text {
    pub(super) fn new(
        asked: Asked,
        shares: Option<Vec<u16>>,
        ids: Vec<u32>,
        embedding: Embedding,
    ) -> Self {
        Self {
            wish: asked.wish(ids.len(), shares),
            asked,
            tokens: ids.len(),
            input: Arc::new(OwnedInput::Ids(ids)),
            embedding,
        }
    }

    fn vector(
        &self,
        device: &Device,
        shares: &[(TokenRange, Vec<f32>)],
    ) -> Result<Vec<f32>, RequestError> {
        vector(device.bundle(), &self.embedding, shares)?.ok_or(RequestError::Nothing)
    }
}

impl Work for Text {
    type Reply = Embedded;

    fn asked(&self) -> &Asked {
        &self.asked
    }

    fn wish(&self) -> &Wish {
        &self.wish
    }

    fn choose(
        &self,
        device: &Device,
        usable: &[Candidate],
        wish: &Wish,
    ) -> Result<Choice, ChooseError> {
        let model = device.text_model(self.asked.rung);
        choose_for_text(&device.candidate(), usable, wish, &model)
    }

    fn seconds_alone(&self, device: &Device) -> f64 {
        let model = device.text_model(self.asked.rung);
        model.seconds_behind(0, self.tokens, device.speed)
    }

    fn alone_by_choice(&self) -> &'static str {
        "one device is faster for a text of this length"
    }

    async fn run(
        &self,
        device: &Arc<Device>,
        plan: &mut ActivePlan,
    ) -> Result<Ran<Embedded>, RequestError> {
        let begun = Instant::now();
        let until = self.asked.members_until(begun);
        let harvest = match request::run(device, plan, &self.input, until).await {
            Ok(harvest) => harvest,
            Err(given_up) => return Ok(Ran::GivenUp(given_up)),
        };
        let (mut shares, mut missing) = (Vec::new(), Vec::new());
        for (range, share) in plan.choice.ranges.iter().zip(&harvest.shares) {
            match share {
                Some(share) => shares.push((*range, share.cls.clone())),
                None => missing.push((*range).into()),
            }
        }
        let embedding = self.vector(device, &shares)?;
        let mut report = summary::report(device, &self.asked, Duration::ZERO, begun);
        summary::of_members(&mut report, plan, &harvest.accounts, device.shape());
        report.missing = missing;
        report.prompt_tokens = Some(self.tokens);
        let reply = Embedded { report, embedding };
        let took = Some(begun.elapsed());
        Ok(Ran::done(device, plan, &harvest, reply, took))
    }

    async fn alone(&self, device: &Arc<Device>, why: String) -> Result<Embedded, RequestError> {
        let begun = Instant::now();
        let input = OwnedInput::clone(&self.input);
        let (answer, computed) = device.worker.whole(input).await?;
        let hidden = device.shape().hidden;
        let all = TokenRange {
            first: 0,
            tokens: self.wish.tokens,
        };
        let share = pooled(&self.embedding, all, self.tokens, &answer.patches, hidden);
        let embedding = self.vector(device, &[(all, share)])?;
        let mut report = summary::report(device, &self.asked, Duration::ZERO, begun);
        summary::of_one(
            &mut report,
            summary::alone(device, self.wish.tokens, computed),
            0,
            why,
        );
        report.prompt_tokens = Some(self.tokens);
        Ok(Embedded { report, embedding })
    }
}
