//! A question about a picture from its arrival to its answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_wire::AskOptions;

use super::asker::Asker;
use super::assemble::{Share, assemble, assemble_scores};
use super::choose::{Choice, ChooseError, Wish, choose};
use super::coordinator::{Coordinator, RequestError};
use super::device::Device;
use super::request::{self, Harvest};
use super::roster::Candidate;
use super::setup::ActivePlan;
use super::summary;
use super::work::{Asked, Ran, Work};
use crate::agreement::Agreement;
use crate::engine::{Answer, OwnedInput};
use crate::link::MAX_MESSAGE;
use crate::plan::TokenRange;
use crate::report::Report;
use crate::tasks::image::{ImageError, MAX_FILE, Rect, prepare};

/// Runs of the whole model that a comparison times.
const COMPARISONS: usize = 3;

// A question with the largest picture passes.
const _: () = assert!(MAX_FILE + 4096 <= MAX_MESSAGE);

/// A client's question.
#[derive(Clone, Debug)]
pub struct Question {
    /// How it is to be answered.
    pub options: AskOptions,
    /// Tokens of each member, where the client says so.
    pub shares: Option<Vec<u16>>,
    /// The picture, as in its file.
    pub image: Vec<u8>,
    /// Who asks. One that goes before its turn has none.
    pub asker: Asker,
}

/// An answer and what it took.
#[derive(Clone, Debug)]
pub struct Reply {
    /// What it took.
    pub report: Report,
    /// The answer.
    pub answer: Answer,
}

/// A question on its way.
struct Picture {
    asked: Asked,
    wish: Wish,
    input: Arc<OwnedInput>,
    content: Rect,
    prepare: Duration,
}

impl Coordinator {
    /// Answers a question: on the cluster, or alone where nobody else can take part in time.
    ///
    /// # Errors
    /// The picture, rung or ranges are refused, this device's own part fails, or it does not get to the question in time.
    pub async fn answer(&self, question: Question) -> Result<Reply, RequestError> {
        let (options, asker) = (question.options, question.asker.clone());
        let work = self.prepare(question).await?;
        let mut desk = self.turn(&work.asked, asker.gone()).await?;
        let mut reply = if options.alone {
            self.alone(&work, "as asked".to_owned()).await?
        } else {
            self.together(&mut desk, &work).await?
        };
        drop(desk);
        if options.compare {
            self.compare(&work, &mut reply).await?;
        }
        Ok(reply)
    }

    async fn prepare(&self, question: Question) -> Result<Picture, RequestError> {
        let asked = self.asked(&question.options)?;
        let wanted = "take pictures";
        let spec = (self.device().input).ok_or(RequestError::Task { wanted })?;
        let turn = Arc::clone(&self.decoding).acquire_owned();
        let turn = tokio::select! {
            biased;
            () = question.asker.gone() => return Err(RequestError::Gone),
            turn = tokio::time::timeout_at(asked.deadline.into(), turn) => turn,
        };
        let turn = turn.map_err(|_| RequestError::Deadline(asked.time()))?;
        let image = question.image;
        let prepared = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let prepared = prepare(&image, &spec)?;
            // Here, for neither the file nor the photograph is to wait for anything.
            Ok::<_, ImageError>((prepared.pixels, prepared.content))
        })
        .await;
        let prepared = prepared.map_err(|error| RequestError::Stopped(error.to_string()))?;
        let (pixels, content) = prepared?;
        Ok(Picture {
            wish: asked.wish(self.device().tokens().into(), question.shares),
            content,
            input: Arc::new(OwnedInput::Pixels(pixels)),
            prepare: asked.asked.elapsed(),
            asked,
        })
    }

    /// The same on this device alone: best of a few runs, the first not counted.
    async fn compare(&self, work: &Picture, reply: &mut Reply) -> Result<(), RequestError> {
        let time = work
            .asked
            .deadline
            .saturating_duration_since(work.asked.asked);
        // The question is answered; the comparison may take its own time.
        let engaged = self
            .engage(Instant::now() + time.max(Duration::from_secs(5)))
            .await;
        let _engaged = engaged.ok_or(RequestError::Deadline(time))?;
        let worker = &self.device().worker;
        let (one_device, _) = worker.whole(OwnedInput::clone(&work.input)).await?;
        let mut best = Duration::MAX;
        for _ in 0..COMPARISONS {
            let (_, took) = worker.whole(OwnedInput::clone(&work.input)).await?;
            best = best.min(took);
        }
        let hidden = self.device().shape().hidden;
        reply.report.one_device_latency_ms = Some(summary::milliseconds(best));
        reply.report.agreement = Some(Agreement::between(&reply.answer, &one_device, hidden));
        Ok(())
    }
}

impl Work for Picture {
    type Reply = Reply;

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
        choose(&device.candidate(), usable, wish)
    }

    fn seconds_alone(&self, device: &Device) -> f64 {
        1.0 / device.speed
    }

    fn alone_by_choice(&self) -> &'static str {
        "the other devices are too slow to own a token"
    }

    async fn run(
        &self,
        device: &Arc<Device>,
        plan: &mut ActivePlan,
    ) -> Result<Ran<Reply>, RequestError> {
        let begun = Instant::now();
        let until = self.asked.members_until(begun);
        let harvest = match request::run(device, plan, &self.input, until).await {
            Ok(harvest) => harvest,
            Err(given_up) => return Ok(Ran::GivenUp(given_up)),
        };
        let reply = self.finish(device, plan, &harvest, begun).await?;
        let took = Some(begun.elapsed());
        Ok(Ran::done(device, plan, &harvest, reply, took))
    }

    async fn alone(&self, device: &Arc<Device>, why: String) -> Result<Reply, RequestError> {
        let begun = Instant::now();
        let input = OwnedInput::clone(&self.input);
        let (answer, computed) = device.worker.whole(input).await?;
        let mut report = self.report(device, begun, &answer);
        summary::of_one(
            &mut report,
            summary::alone(device, device.tokens(), computed),
            0,
            why,
        );
        Ok(Reply { report, answer })
    }
}

impl Picture {
    async fn finish(
        &self,
        device: &Device,
        plan: &ActivePlan,
        harvest: &Harvest,
        begun: Instant,
    ) -> Result<Reply, RequestError> {
        let (answer, missing) = answer_of(device, &plan.choice.ranges, &harvest.shares).await?;
        let mut report = self.report(device, begun, &answer);
        summary::of_members(&mut report, plan, &harvest.accounts, device.shape());
        report.missing = missing.into_iter().map(Into::into).collect();
        Ok(Reply { report, answer })
    }

    fn report(&self, device: &Device, begun: Instant, answer: &Answer) -> Report {
        let content = self.content;
        let spec = device.input.as_ref();
        Report {
            prepare_ms: summary::milliseconds(self.prepare),
            classes: summary::classes(answer, &device.bundle().manifest().task),
            input: spec.map_or_else(Default::default, |spec| summary::input(spec, content)),
            ..summary::report(device, &self.asked, self.prepare, begun)
        }
    }
}

/// The answer that the members' shares make, and the tokens it was made without.
async fn answer_of(
    device: &Device,
    ranges: &[TokenRange],
    shares: &[Option<Share>],
) -> Result<(Answer, Vec<TokenRange>), RequestError> {
    let Some((rows, lines)) = device.rows(ranges) else {
        let whole = assemble(ranges, shares, device.shape().hidden);
        let whole = whole.ok_or(RequestError::Nothing)?;
        let answer = device.worker.head(whole.cls, whole.patches).await?;
        return Ok((answer, whole.missing));
    };
    let counts: Vec<usize> = (0..ranges.len())
        .map(|member| rows.of(member).len() * lines.row())
        .collect();
    let whole = assemble_scores(ranges, &counts, shares).ok_or(RequestError::Nothing)?;
    let mut answer = device.worker.finish(whole.scores).await?;
    answer.cls = whole.cls;
    Ok((answer, whole.missing))
}
