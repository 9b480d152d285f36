//! What a request took: for programs as JSON, for people as a table.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::agreement::Agreement;
use crate::plan::TokenRange;

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
    /// Tokens of the text asked, special ones included; absent for pictures, like all that follows about text.
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
    /// Bytes of code frames sent, once for each receiver.
    pub bytes_sent: u64,
    /// Bytes of code frames received.
    pub bytes_received: u64,
    /// Code frames sent, once for each receiver.
    pub frames_sent: u32,
    /// Code frames received.
    pub frames_received: u32,
    /// Bytes of the codes in the frames sent: the rest are headers.
    pub code_bytes_sent: u64,
    /// Tokens left out of its attention because they did not come in time, summed over blocks.
    pub masked_tokens: u32,
    /// Frames it could not use.
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

const HEADINGS: [&str; 8] = [
    "member",
    "tokens",
    "compute ms",
    "encode ms",
    "wait ms",
    "sent",
    "received",
    "masked",
];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![HEADINGS.map(str::to_owned)];
        rows.extend(self.members.iter().map(MemberReport::cells));
        table(f, &rows)?;
        for member in &self.members {
            if let Some(failure) = &member.failure {
                writeln!(f, "{}: no share: {failure}", member.name)?;
            }
        }
        writeln!(f)?;
        match self.rung_bits {
            0 => writeln!(f, "rung       exact mode")?,
            bits => writeln!(f, "rung       {bits} bits per token per block")?,
        }
        write!(f, "latency    {:.1} ms", self.latency_ms)?;
        match self.one_device_latency_ms {
            Some(alone) => writeln!(f, ", on one device {alone:.1} ms")?,
            None => writeln!(f)?,
        }
        if let Some(why) = &self.alone {
            writeln!(f, "alone      {why}")?;
        }
        if let Some(agreement) = &self.agreement {
            writeln!(f, "agreement  {}", sentence(agreement))?;
        }
        if self.members.len() > 1 {
            let back = match self.prompt_tokens {
                Some(_) => "the answer",
                None => "features",
            };
            writeln!(
                f,
                "wire       {} bytes of input out, {} bytes of {back} back",
                self.input_bytes, self.result_bytes
            )?;
        }
        self.text(f)?;
        self.losses(f)?;
        for class in &self.classes {
            let label = class.label.as_deref().unwrap_or("");
            writeln!(f, "class      {} {label} {:.3}", class.class, class.score)?;
        }
        if let Some(picture) = &self.picture {
            writeln!(f, "picture    {picture}")?;
        }
        Ok(())
    }
}

impl Report {
    /// Tokens that went in and came out, and how fast.
    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(prompt) = self.prompt_tokens else {
            return Ok(());
        };
        write!(f, "text       {prompt} tokens")?;
        match self.reused_tokens {
            None | Some(0) => {}
            Some(reused) => write!(f, ", {reused} of them there from before")?,
        }
        if let Some(prefill) = self.prefill_ms {
            write!(f, ", the first behind them after {prefill:.1} ms")?;
        }
        if let (Some(generated), Some(speed)) = (self.generated_tokens, self.tokens_per_second) {
            write!(f, ", {generated} generated at {speed:.1} a second")?;
        }
        writeln!(f)
    }

    fn losses(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.masked_tokens > 0 {
            writeln!(
                f,
                "masked     {} tokens, summed over members and blocks, did not come in time",
                self.masked_tokens
            )?;
        }
        for missing in &self.missing {
            writeln!(
                f,
                "missing    tokens {}: their features did not come",
                span(missing.first_token, missing.tokens)
            )?;
        }
        Ok(())
    }
}

impl MemberReport {
    fn cells(&self) -> [String; HEADINGS.len()] {
        [
            self.name.clone(),
            span(self.first_token, self.tokens),
            format!("{:.2}", self.compute_ms),
            format!("{:.2}", self.encode_ms),
            format!("{:.2}", self.wait_ms),
            self.bytes_sent.to_string(),
            self.bytes_received.to_string(),
            self.masked_tokens.to_string(),
        ]
    }
}

/// `0-63 (64)`.
fn span(first: u16, tokens: u16) -> String {
    let last = (usize::from(first) + usize::from(tokens)).saturating_sub(1);
    format!("{first}-{last} ({tokens})")
}

fn sentence(agreement: &Agreement) -> String {
    let parts = [
        ("CLS cosine", agreement.cls_cosine),
        ("patch cosine", agreement.patch_cosine),
        ("map mean absolute error", agreement.map_mae),
    ];
    let known = parts
        .iter()
        .filter_map(|(name, value)| value.map(|value| format!("{name} {value:.4}")));
    known.collect::<Vec<_>>().join(", ")
}

/// Writes rows with their first column to the left and the others to the right, each as wide as its widest cell.
pub fn table<const N: usize>(f: &mut impl fmt::Write, rows: &[[String; N]]) -> fmt::Result {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            match column {
                0 => write!(f, "{cell:<width$}")?,
                _ => write!(f, "  {cell:>width$}")?,
            }
        }
        writeln!(f)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let member = |name: &str, first_token, tokens| MemberReport {
            name: name.to_owned(),
            first_token,
            tokens,
            compute_ms: 30.125,
            bytes_sent: 1234,
            ..MemberReport::default()
        };
        Report {
            rung_bits: 320,
            latency_ms: 41.26,
            members: vec![member("a", 0, 86), member("device-10", 86, 170)],
            input_bytes: 7000,
            result_bytes: 66000,
            ..Report::default()
        }
    }

    #[test]
    fn people_get_a_table() {
        let expected = "\
member           tokens  compute ms  encode ms  wait ms  sent  received  masked
a             0-85 (86)       30.12       0.00     0.00  1234         0       0
device-10  86-255 (170)       30.12       0.00     0.00  1234         0       0

rung       320 bits per token per block
latency    41.3 ms
wire       7000 bytes of input out, 66000 bytes of features back
";
        assert_eq!(report().to_string(), expected);
    }

    #[test]
    fn texts_say_how_many_tokens_and_how_fast() {
        let text = Report {
            prompt_tokens: Some(320),
            reused_tokens: Some(300),
            generated_tokens: Some(64),
            prefill_ms: Some(81.24),
            tokens_per_second: Some(21.55),
            ..report()
        };
        let expected = "\
wire       7000 bytes of input out, 66000 bytes of the answer back
text       320 tokens, 300 of them there from before, the first behind them after 81.2 ms, 64 generated at 21.6 a second
";
        assert!(text.to_string().ends_with(expected), "{text}");
        let vector = Report {
            prompt_tokens: Some(12),
            ..report()
        };
        assert!(
            vector.to_string().ends_with("text       12 tokens\n"),
            "{vector}"
        );
    }

    #[test]
    fn losses_are_not_hidden() {
        let mut report = report();
        report.members[1].failure = Some("no answer".to_owned());
        report.masked_tokens = 12;
        report.missing = vec![Range {
            first_token: 86,
            tokens: 170,
        }];
        let text = report.to_string();
        for line in [
            "device-10: no share: no answer\n",
            "masked     12 tokens",
            "missing    tokens 86-255 (170): ",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn programs_read_back_what_was_written() {
        let mut whole = report();
        whole.agreement = Some(Agreement {
            cls_cosine: Some(0.5),
            ..Agreement::default()
        });
        whole.one_device_latency_ms = Some(90.5);
        let json = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), whole);
        assert!(
            json.starts_with(r#"{"rung_bits":320,"latency_ms":41.26,"#),
            "{json}"
        );
        assert!(json.contains(r#""picture":null"#), "{json}");
        let plain = serde_json::to_string(&report()).unwrap();
        assert!(!plain.contains("one_device"), "{plain}");
        assert_eq!(serde_json::from_str::<Report>(&plain).unwrap(), report());
    }
}
