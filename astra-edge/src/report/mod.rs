//! What a request took: for programs as JSON, for people as a table.

#[cfg(test)]
mod tests;
mod text;

use serde::{Deserialize, Serialize};

use astra_bundle::Agreement as Measured;
use astra_model::agreement::Agreement;
use astra_model::partition::TokenRange;

pub use astra_report::table;

/// What a request took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Bits per token per block; 0 in exact mode.
    pub rung_bits: u16,
    /// Milliseconds from input ready to answer ready, on a plan that stands.
    pub latency_ms: f64,
    /// Milliseconds of the same on the coordinator alone, best of three; absent where not compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_device_latency_ms: Option<f64>,
    /// How close the answer is to the coordinator's alone; absent where not compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Agreement>,
    /// How close answers came to those of one device when the model was exported, at this rung and the number of devices nearest
    /// to that of the members; absent in exact mode, on one device, and where it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
    /// The members, by their number.
    pub members: Vec<MemberReport>,
    /// Bytes of input that went to other members.
    pub input_bytes: u64,
    /// Bytes of shares that came back from them.
    pub result_bytes: u64,
    /// Tokens whose features did not come; the answer was made without them.
    pub missing: Vec<Range>,
    /// Tokens left out of some member's attention, summed over members and blocks.
    pub masked_tokens: u64,
    /// Why one device answered alone; absent where it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alone: Option<String>,
    /// Milliseconds of decoding and fitting the picture.
    pub prepare_ms: f64,
    /// Milliseconds of waiting for other requests and of setting up the plan.
    pub setup_ms: f64,
    /// Device that coordinated.
    pub coordinator: String,
    /// Best classes first, for models that classify.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<Class>,
    /// Tokens of the prompt, special ones included; absent for pictures, like all that follows about text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<usize>,
    /// Tokens of the text whose keys and values were there from the generation before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused_tokens: Option<usize>,
    /// Tokens generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated_tokens: Option<usize>,
    /// Milliseconds from the prompt to the first token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefill_ms: Option<f64>,
    /// Milliseconds from the first token to the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode_ms: Option<f64>,
    /// Tokens a second after the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// What the picture was fitted into.
    #[serde(default)]
    pub input: Input,
    /// File of the picture drawn; `null` where there is none.
    pub picture: Option<String>,
}

/// What a member did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemberReport {
    /// Its name.
    pub name: String,
    /// First token it owned.
    pub first_token: u16,
    /// Tokens it owned.
    pub tokens: u16,
    /// Milliseconds of running the model.
    pub compute_ms: f64,
    /// Milliseconds of the codec: finding codes, handing frames to the network, and turning codes into tokens again.
    pub encode_ms: f64,
    /// Milliseconds of waiting for the codes of others.
    pub wait_ms: f64,
    /// Milliseconds of processor time of the compute thread for anything but the model: codec, frames, starting to wait.
    #[serde(default)]
    pub overhead_ms: f64,
    /// Bytes of code frames sent, once for each receiver.
    pub bytes_sent: u64,
    /// Bytes of code frames received.
    pub bytes_received: u64,
    /// Code frames sent, once for each receiver.
    pub frames_sent: u32,
    /// Code frames received.
    pub frames_received: u32,
    /// Bytes of codes and positions in the frames sent: the rest are headers.
    pub code_bytes_sent: u64,
    /// Tokens left out of its attention because they did not come in time, summed over blocks.
    pub masked_tokens: u32,
    /// Frames that came when their block was over.
    #[serde(default)]
    pub late_frames: u32,
    /// Frames it could not use for another reason.
    pub refused_frames: u32,
    /// Bytes of features it sent to members whose rows of the map border on its own.
    #[serde(default)]
    pub halo_bytes: u64,
    /// Bytes of input it was sent.
    pub input_bytes: u64,
    /// Bytes of its share.
    pub result_bytes: u64,
    /// Why its share did not come; absent where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// A range of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// First token.
    pub first_token: u16,
    /// Number of tokens.
    pub tokens: u16,
}

/// A class and its score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Class {
    /// Number of the class.
    pub class: usize,
    /// Its name, where the model has names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its score, before any softmax.
    pub score: f32,
}

/// Where the photograph lies in the model's square input, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Side of the square.
    pub size: usize,
    /// Side of a patch.
    pub patch: usize,
    /// Left edge of the photograph.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl From<TokenRange> for Range {
    fn from(range: TokenRange) -> Self {
        Self {
            first_token: range.first,
            tokens: range.tokens,
        }
    }
}

impl From<Range> for TokenRange {
    fn from(range: Range) -> Self {
        Self {
            first: range.first_token,
            tokens: range.tokens,
        }
    }
}
