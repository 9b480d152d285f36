//! Requests of clients about an image.

use std::sync::Arc;

use astra_model::tasks::features::write_exact;
use astra_wire::{Control, InferenceResponse};

use super::reply::Replies;
use crate::cluster::request::coordinator::Coordinator;
use crate::cluster::request::image::ImageRequest;

pub(crate) async fn answer(
    coordinator: &Arc<Coordinator>,
    request: ImageRequest,
    replies: Replies,
) -> Vec<u8> {
    let reply = match coordinator.answer(request).await {
        Ok(reply) => reply,
        Err(error) => return replies.failed(&error),
    };
    let report = match serde_json::to_string(&reply.report) {
        Ok(report) => report,
        Err(error) => return replies.failed(&error),
    };
    let (mut map, mut cls) = (Vec::new(), Vec::new());
    write_exact(&reply.answer.cls, &mut cls);
    let (mut width, mut height) = (0, 0);
    if let Some(found) = &reply.answer.map {
        // A map with a side beyond 65,535 would not be of an image that was accepted.
        width = u16::try_from(found.width).unwrap_or(0);
        height = u16::try_from(found.height).unwrap_or(0);
        write_exact(&found.values, &mut map);
    }
    let answer = Control::InferenceResponse(InferenceResponse {
        report: &report,
        width,
        height,
        map: &map,
        cls: &cls,
    });
    replies.message(&answer)
}
