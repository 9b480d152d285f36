//! The report of a request.

use std::time::{Duration, Instant};

use astra_bundle::{ImageInput, Task};

use crate::cluster::device::Device;
use crate::cluster::generation::token_sink::ReceivedTokens;
use crate::cluster::request::base::RequestLimits;
use crate::cluster::request::collected::Account;
use crate::cluster::session::set_up::ActivePlan;
use crate::report::{Class, Input, MemberReport, Report};
use astra_model::engine::ModelOutput;
use astra_model::tasks::image::Rect;

/// Classes in a report.
const CLASSES: usize = 5;

/// Enters the members and their totals, and what was measured of the rung on about as many.
pub(crate) fn of_members(
    report: &mut Report,
    device: &Device,
    plan: &ActivePlan,
    accounts: &[Account],
) {
    // Exact mode is no rung of the bundle.
    let rung = device.bundle().rung(report.rung_bits.into()).ok();
    let measured = rung.and_then(|rung| rung.measured(plan.placement.members.len()));
    report.measured = measured.copied();
    let members = plan.placement.members.iter().zip(&plan.placement.ranges);
    for ((member, range), account) in members.zip(accounts) {
        let stats = &account.stats;
        report.members.push(MemberReport {
            name: member.name.clone(),
            first_token: range.first,
            tokens: range.tokens,
            compute_ms: of_microseconds(stats.compute_us),
            encode_ms: of_microseconds(stats.encode_us),
            wait_ms: of_microseconds(stats.wait_us),
            overhead_ms: of_microseconds(stats.overhead_us),
            bytes_sent: stats.bytes_sent,
            bytes_received: stats.bytes_received,
            frames_sent: stats.frames_sent,
            frames_received: stats.frames_received,
            code_bytes_sent: stats.code_bytes,
            masked_tokens: stats.masked_tokens,
            late_frames: stats.late_frames,
            refused_frames: stats.refused_frames,
            halo_bytes: stats.halo_bytes,
            input_bytes: account.input_bytes,
            result_bytes: account.result_bytes,
            failure: account.failure.clone(),
        });
        report.input_bytes += account.input_bytes;
        report.result_bytes += account.result_bytes;
        report.masked_tokens += u64::from(stats.masked_tokens);
    }
}

/// A report of a request whose answer is complete and whose turn came when it was `begun`.
pub(crate) fn report(
    device: &Device,
    limits: &RequestLimits,
    prepare: Duration,
    begun: Instant,
) -> Report {
    let setup = begun.saturating_duration_since(limits.arrived);
    Report {
        rung_bits: limits.rung,
        latency_ms: milliseconds(begun.elapsed()),
        setup_ms: milliseconds(setup.saturating_sub(prepare)),
        coordinator: device.name.clone(),
        ..Report::default()
    }
}

/// Enters the only member, with the rung of cached keys and values (0: exact), and why it was the only one.
pub(crate) fn of_one(report: &mut Report, member: MemberReport, rung: u16, why: String) {
    report.rung_bits = rung;
    report.members = vec![member];
    report.alone = Some(why);
}

/// Enters token counts and times of a generation: prefill ends with the first token, decoding is timed from there.
pub(crate) fn of_text(
    report: &mut Report,
    prompt: &[u32],
    received: &ReceivedTokens,
    begun: Instant,
) {
    report.prompt_tokens = Some(prompt.len());
    report.reused_tokens = Some(
        received
            .stats
            .as_ref()
            .map_or(0, |stats| stats.reused_tokens as usize),
    );
    report.generated_tokens = Some(received.ids.len());
    let (Some(first), Some(last)) = (received.first, received.last) else {
        return;
    };
    report.prefill_ms = Some(milliseconds(first.saturating_duration_since(begun)));
    let decode = last.saturating_duration_since(first);
    report.decode_ms = Some(milliseconds(decode));
    let after_first = received.ids.len().saturating_sub(1);
    if after_first > 0 && !decode.is_zero() {
        report.tokens_per_second = Some(after_first as f64 / decode.as_secs_f64());
    }
}

/// The only member of a request that this device computed on its own.
pub(crate) fn alone(device: &Device, tokens: u16, computed: Duration) -> MemberReport {
    one(device.name.clone(), tokens, computed)
}

/// A member that computed all tokens.
pub(crate) fn one(name: String, tokens: u16, computed: Duration) -> MemberReport {
    MemberReport {
        name,
        tokens,
        compute_ms: milliseconds(computed),
        ..MemberReport::default()
    }
}

/// The place of the image within the model's input.
pub(crate) fn input(spec: &ImageInput, content: Rect) -> Input {
    Input {
        size: spec.size,
        patch: spec.patch,
        x: content.x,
        y: content.y,
        width: content.width,
        height: content.height,
    }
}

/// The best classes, best first.
pub(crate) fn classes(answer: &ModelOutput, task: &Task) -> Vec<Class> {
    let labels = match task {
        Task::Classification { labels } => labels.as_deref().unwrap_or_default(),
        _ => &[],
    };
    let scores = answer.logits.as_deref().unwrap_or_default();
    let mut order: Vec<(usize, f32)> = scores.iter().copied().enumerate().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    let best = order.into_iter().take(CLASSES);
    best.map(|(class, score)| Class {
        class,
        label: labels.get(class).cloned(),
        score,
    })
    .collect()
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn of_microseconds(time: u32) -> f64 {
    f64::from(time) / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_come_best_first() {
        let answer = ModelOutput {
            logits: Some(vec![0.5, 3.0, -1.0]),
            ..ModelOutput::default()
        };
        let task = Task::Classification {
            labels: Some(vec!["cat".to_owned(), "dog".to_owned()]),
        };
        let found = classes(&answer, &task);
        assert_eq!(found.len(), 3);
        assert_eq!(
            (found[0].class, found[0].label.as_deref()),
            (1, Some("dog"))
        );
        assert_eq!((found[2].class, found[2].label.as_deref()), (2, None));
        assert!(classes(&ModelOutput::default(), &Task::Saliency).is_empty());
    }
}
