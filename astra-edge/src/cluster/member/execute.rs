//! A member's own part of a request: from what the data path computed to its share of the answer.

use std::sync::Arc;
use std::time::Instant;

use astra_bundle::Task;
use astra_model::partition::HeadPartition;
use astra_model::tasks::embedding::pool_part;
use astra_wire::MemberStats;

use super::halo;
use super::share::Share;
use crate::cluster::device::Device;
use crate::cluster::device::slot::PlanSlot;
use crate::job::{JobOutput, microseconds};

/// A member's share of the answer, and what it cost: an image's features, or scores of its rows where members share the head; a
/// text's part of its embedding; nothing for a prompt that another member continues.
///
/// # Errors
/// As text for the coordinator: rows of a map could not be scored.
pub(crate) async fn share_of(
    device: &Arc<Device>,
    slot: &PlanSlot,
    (request, until): (u32, Instant),
    outcome: JobOutput,
) -> Result<(Share, MemberStats), String> {
    let manifest = device.bundle().manifest();
    let mut stats = outcome.stats.member_stats(slot.receivers());
    let range = slot
        .range()
        .ok_or("this device is not a member of the plan")?;
    let share = match &manifest.task {
        Task::Embedding(embedding) => {
            let (total, hidden) = (slot.plan.tokens(), manifest.shape.hidden);
            Share {
                cls: pool_part(embedding, range, total, &outcome.features, hidden),
                ..Share::default()
            }
        }
        _ if manifest.family.is_text() => Share::default(),
        _ => match device.rows(&slot.plan.ranges) {
            Some((rows, _)) => {
                let of = (request, until);
                let scores = score(device, slot, &rows, of, &outcome.features, &mut stats);
                Share {
                    scores: Some(scores.await?),
                    cls: outcome.cls,
                    ..Share::default()
                }
            }
            None => Share {
                cls: outcome.cls,
                features: outcome.features,
                scores: None,
            },
        },
    };
    Ok((share, stats))
}

/// Scores of the own rows, after waiting for features of the neighbouring rows.
async fn score(
    device: &Arc<Device>,
    slot: &PlanSlot,
    rows: &HeadPartition,
    (request, until): (u32, Instant),
    own: &[f32],
    stats: &mut MemberStats,
) -> Result<Vec<f32>, String> {
    let begun = Instant::now();
    // The rest of the time is for scoring and for sending the result.
    let patience = until.saturating_duration_since(begun) / 4 * 3;
    let haloed = halo::exchange(device, slot, rows, request, own, begun + patience).await;
    let haloed = haloed.map_err(|error| error.to_string())?;
    let waited = begun.elapsed();
    stats.wait_us = stats.wait_us.saturating_add(microseconds(waited));
    stats.halo_bytes = haloed.sent;
    stats.masked_tokens += u32::try_from(haloed.missing).unwrap_or(u32::MAX);
    if haloed.features.is_empty() {
        return Ok(Vec::new());
    }
    let halos = rows.halos(slot.me);
    let scores = device.worker.head_scores(haloed.features, halos).await;
    let computed = begun.elapsed() - waited;
    stats.compute_us = stats.compute_us.saturating_add(microseconds(computed));
    scores.map_err(|error| error.to_string())
}
