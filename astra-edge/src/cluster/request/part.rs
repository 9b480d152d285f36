//! Messages of one member's part of a request: its input, and its share in reply.

use std::sync::Arc;
use std::time::Duration;

use astra_wire::{Control, Encoding, GenerationParams, MemberResult, Start, StartText, pack_ids};

use crate::cluster::device::Device;
use crate::cluster::member::share::{Dense, Share, unpack};
use crate::link::encode;
use crate::plan::Plan;
use astra_model::engine::{Input, OwnedInput};
use astra_model::partition::TokenRange;
use astra_model::tasks::strip;

/// One member's part.
pub(crate) struct Part {
    pub(crate) plan: Arc<Plan>,
    pub(crate) range: TokenRange,
    pub(crate) request: u32,
    pub(crate) deadline: Duration,
}

impl Part {
    /// The message that begins the part, with the member's part of `input`, which is that of all tokens.
    ///
    /// # Errors
    /// As text for the report: the input does not have the plan's number of tokens.
    pub(crate) async fn message(
        &self,
        device: &Device,
        input: &Arc<OwnedInput>,
    ) -> Result<Vec<u8>, String> {
        match &**input {
            OwnedInput::Pixels(_) => self.with_pixels(device, Arc::clone(input)).await,
            OwnedInput::Ids(ids) => {
                let (tokens, total) = (self.range.indexes(), self.plan.tokens());
                let own = Input::Ids(ids).part(tokens, total, device.shape().class_tokens);
                match own.map_err(|error| error.to_string())? {
                    OwnedInput::Ids(ids) => self.with_ids(&ids, None),
                    OwnedInput::Pixels(_) => Err("found pixels, expected token ids".to_owned()),
                }
            }
        }
    }

    async fn with_pixels(
        &self,
        device: &Device,
        input: Arc<OwnedInput>,
    ) -> Result<Vec<u8>, String> {
        let (range, exact) = (self.range, self.plan.rung == 0);
        let Some(spec) = device.input else {
            return Err("found an image, expected a model of images".to_owned());
        };
        let turn = device.compressing.acquire().await;
        let strip = tokio::task::spawn_blocking(move || match &*input {
            OwnedInput::Pixels(pixels) => strip::encode(pixels, range, &spec, exact),
            OwnedInput::Ids(_) => strip::encode(&[], range, &spec, exact),
        });
        let strip = strip.await.map_err(|error| error.to_string())?;
        drop(turn);
        let strip = strip.map_err(|error| error.to_string())?;
        let message = Control::Start(Start {
            plan: self.plan.id,
            epoch: self.plan.epoch,
            request: self.request,
            deadline_ms: milliseconds(self.deadline),
            input: &strip,
        });
        encode(self.plan.version, &message).map_err(|error| error.to_string())
    }

    /// The message that begins a part of a text; `ids` are those that the member needs.
    ///
    /// # Errors
    /// As text for the report: there are no ids, or the sampling parameters are out of range.
    pub(crate) fn with_ids(
        &self,
        ids: &[u32],
        generate: Option<GenerationParams>,
    ) -> Result<Vec<u8>, String> {
        let ids = packed(ids);
        let message = Control::StartText(StartText {
            plan: self.plan.id,
            epoch: self.plan.epoch,
            request: self.request,
            deadline_ms: milliseconds(self.deadline),
            generate,
            ids: &ids,
        });
        encode(self.plan.version, &message).map_err(|error| error.to_string())
    }
}

/// Token ids as they are sent.
pub(crate) fn packed(ids: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0; ids.len() * astra_wire::MAX_ID];
    let length = pack_ids(ids, &mut bytes).unwrap_or_default();
    bytes.truncate(length);
    bytes
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// The share in a member's result.
///
/// # Errors
/// As text for the report: its length does not fit the member's token range.
pub(crate) fn read_share(
    device: &Device,
    ranges: &[TokenRange],
    result: &MemberResult<'_>,
) -> Result<Share, String> {
    let shape = device.shape();
    let member = usize::from(result.member);
    let range = ranges.get(member).ok_or("no such member")?;
    let class = shape.hidden * shape.class_tokens;
    if !device.bundle().manifest().family.is_text() {
        let dense = match device.rows(ranges) {
            Some((rows, lines)) => Dense::Scores(rows.of(member).len() * lines.row(), lines),
            None => Dense::Features(usize::from(range.tokens)),
        };
        return unpack(result, dense, shape.hidden, class).map_err(|error| error.to_string());
    }
    let floats = result.cls.chunks_exact(4);
    let cls: Vec<f32> = floats
        .filter_map(|bytes| bytes.try_into().ok().map(f32::from_le_bytes))
        .collect();
    let fits = cls.is_empty() || cls.len() == shape.hidden;
    if !fits || result.encoding != Encoding::Float32 || !result.features.is_empty() {
        return Err("found a share of an image, expected one of a text".to_owned());
    }
    Ok(Share {
        cls,
        ..Share::default()
    })
}
