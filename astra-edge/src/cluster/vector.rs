//! A text on its way to a vector.

use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_bundle::TextPooling;

use super::choose::{Choice, ChooseError, Wish};
use super::choose_text::choose_for_text;
use super::coordinator::{Asked, Ran, RequestError, Work};
use super::device::Device;
use super::request::{self, Harvest};
use super::roster::Candidate;
use super::setup::ActivePlan;
use super::share::{pooled, vector};
use super::summary;
use super::text::Embedded;
use crate::engine::OwnedInput;
use crate::plan::TokenRange;

/// A text on its way.
pub(super) struct Text {
    asked: Asked,
    wish: Wish,
    tokens: usize,
    input: Arc<OwnedInput>,
    pooling: TextPooling,
    normalize: bool,
}

impl Text {
    pub(super) fn new(
        asked: Asked,
        shares: Option<Vec<u16>>,
        ids: Vec<u32>,
        pooling: TextPooling,
        normalize: bool,
    ) -> Self {
        Self {
            wish: Wish {
                // A text is no longer than 16 bits count.
                tokens: u16::try_from(ids.len()).unwrap_or(u16::MAX),
                max_members: asked.max_members,
                shares,
            },
            asked,
            tokens: ids.len(),
            input: Arc::new(OwnedInput::Ids(ids)),
            pooling,
            normalize,
        }
    }

    fn vector(
        &self,
        shares: &[(usize, Vec<f32>)],
        hidden: usize,
    ) -> Result<Vec<f32>, RequestError> {
        vector(self.pooling, self.normalize, shares, hidden).ok_or(RequestError::Nothing)
    }
}

impl Work for Text {
    type Reply = Embedded;

    fn asked(&self) -> &Asked {
        &self.asked
    }

    fn choose(
        &self,
        device: &Device,
        usable: &[Candidate],
        most: usize,
    ) -> Result<Choice, ChooseError> {
        let model = device.text_model(self.asked.rung);
        let wish = Wish {
            max_members: most,
            ..self.wish.clone()
        };
        choose_for_text(&device.candidate(), usable, &wish, &model)
    }

    fn takes_alone(&self, device: &Device) -> Option<Duration> {
        let chosen = self.asked.insists || self.wish.shares.is_some();
        let seconds =
            device
                .text_model(self.asked.rung)
                .seconds_behind(0, self.tokens, device.speed);
        (!chosen && device.speed > 0.0).then(|| Duration::from_secs_f64(seconds))
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
        let harvest: Harvest = match request::run(device, plan, &self.input, until).await {
            Ok(harvest) => harvest,
            Err(given_up) => return Ok(Ran::GivenUp(given_up)),
        };
        let (mut shares, mut missing) = (Vec::new(), Vec::new());
        for (range, share) in plan.choice.ranges.iter().zip(&harvest.shares) {
            match share {
                Some(share) => shares.push((usize::from(range.tokens), share.cls.clone())),
                None => missing.push((*range).into()),
            }
        }
        let embedding = self.vector(&shares, device.shape().hidden)?;
        let mut report =
            summary::report(device, &self.asked, Duration::ZERO, begun, begun.elapsed());
        summary::of_members(&mut report, plan, &harvest.accounts, device.shape());
        report.missing = missing;
        report.prompt_tokens = Some(self.tokens);
        let sound = report.masked_tokens == 0 && report.missing.is_empty();
        if !sound {
            request::set_aside(device, plan, &harvest);
        }
        let reply = Embedded { report, embedding };
        let took = begun.elapsed();
        Ok(Ran::Done { reply, sound, took })
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
        let share = pooled(self.pooling, all, &answer.patches, hidden);
        let embedding = self.vector(&[(self.tokens, share)], hidden)?;
        let mut report =
            summary::report(device, &self.asked, Duration::ZERO, begun, begun.elapsed());
        report.rung_bits = 0;
        report.members = vec![summary::alone(device, self.wish.tokens, computed)];
        report.alone = Some(why);
        report.prompt_tokens = Some(self.tokens);
        Ok(Embedded { report, embedding })
    }
}
