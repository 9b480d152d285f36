//! The report of an answer, device by device.

use std::fmt;

use astra_edge::cluster::request::GenerationResponse;
use astra_edge::generation::FinishReason;
use astra_edge::report::MemberReport;

/// Prints an answer's report for people.
pub(crate) struct Shown<'a>(pub(crate) &'a GenerationResponse);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GenerationResponse { report, .. } = self.0;
        for member in &report.members {
            device(f, member)?;
        }
        write!(f, "  {} tokens of prompt", self.0.prompt_tokens)?;
        if let Some(reused) = report.reused_tokens.filter(|reused| *reused > 0) {
            write!(f, ", {reused} of them from the turn before")?;
        }
        if let Some(prefill) = report.prefill_ms {
            write!(f, ", in {prefill:.0} ms")?;
        }
        write!(f, "; {} tokens of answer", self.0.tokens)?;
        if let Some(rate) = report.tokens_per_second {
            write!(f, ", {rate:.1} a second")?;
        }
        if self.0.finish_reason == FinishReason::Length {
            write!(f, "; cut short")?;
        }
        writeln!(f)?;
        if let Some(why) = &report.alone {
            writeln!(f, "  on one device: {why}")?;
        }
        Ok(())
    }
}

fn device(f: &mut fmt::Formatter<'_>, member: &MemberReport) -> fmt::Result {
    let last = u32::from(member.first_token) + u32::from(member.tokens.saturating_sub(1));
    writeln!(
        f,
        "  {}: tokens {}-{last} ({}), computed {:.0} ms, waited {:.0} ms, sent {}, received {}",
        member.name,
        member.first_token,
        member.tokens,
        member.compute_ms,
        member.wait_ms,
        bytes(member.bytes_sent),
        bytes(member.bytes_received),
    )
}

fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} B"),
        _ => format!("{:.1} kB", count as f64 / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use astra_edge::report::Report;

    #[test]
    fn every_device_has_its_line() {
        let member = |name: &str, first_token, bytes_sent| MemberReport {
            name: name.to_owned(),
            first_token,
            tokens: 20,
            compute_ms: 80.4,
            bytes_sent,
            ..MemberReport::default()
        };
        let ended = GenerationResponse {
            report: Report {
                members: vec![member("a", 0, 153_300), member("b", 20, 0)],
                reused_tokens: Some(3),
                prefill_ms: Some(90.0),
                tokens_per_second: Some(12.34),
                ..Report::default()
            },
            prompt_tokens: 44,
            tokens: 9,
            finish_reason: FinishReason::Length,
        };
        let expected = "  \
  a: tokens 0-19 (20), computed 80 ms, waited 0 ms, sent 153.3 kB, received 0 B
  b: tokens 20-39 (20), computed 80 ms, waited 0 ms, sent 0 B, received 0 B
  44 tokens of prompt, 3 of them from the turn before, in 90 ms; 9 tokens of answer, 12.3 a second; cut short
";
        assert_eq!(Shown(&ended).to_string(), expected);
    }
}
