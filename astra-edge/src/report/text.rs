//! The report for people.

use std::fmt;

use astra_report::table;

use super::{MemberReport, Report};
use astra_model::agreement::Agreement;

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
            bits => {
                write!(f, "rung       {bits} bits per token per block")?;
                match self.measured.and_then(|measured| measured.summary()) {
                    Some(measured) => writeln!(f, ", measured {measured}")?,
                    None => writeln!(f)?,
                }
            }
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
            Some(reused) => write!(f, ", {reused} of them reused")?,
        }
        if let Some(prefill) = self.prefill_ms {
            write!(f, ", first token after {prefill:.1} ms")?;
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
