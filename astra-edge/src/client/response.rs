//! Replies of devices to requests for images and vectors.

use astra_wire::Control;

use super::error::ClientError;
use crate::cluster::membership::identity::printable;
use crate::report::Report;
use astra_model::engine::Map;
use astra_model::tasks::features::{FeatureError, read_exact};

/// The response to a request for an image or a vector.
#[derive(Clone, Debug)]
pub struct Response {
    /// What the request took.
    pub report: Report,
    /// The class token, or the vector of a text: `[D]`.
    pub cls: Vec<f32>,
    /// The dense map, for tasks that have one.
    pub map: Option<Map>,
}

/// Reads a reply of `device`.
pub(super) fn read(reply: &[u8], device: &str) -> Result<Response, ClientError> {
    let unreadable = |reason: String| ClientError::Unreadable {
        device: device.to_owned(),
        reason,
    };
    let failed = |text: String| ClientError::Failed {
        device: device.to_owned(),
        text,
    };
    match Control::parse(reply) {
        Ok(Control::InferenceResponse(answer)) => {
            let report = serde_json::from_str(answer.report);
            let report = report.map_err(|error| unreadable(error.to_string()))?;
            let floats = |bytes| floats(bytes).map_err(|error| unreadable(error.to_string()));
            let map = Map {
                height: answer.height.into(),
                width: answer.width.into(),
                values: floats(answer.map)?,
            };
            Ok(Response {
                report,
                cls: floats(answer.cls)?,
                map: (!map.values.is_empty()).then_some(map),
            })
        }
        Ok(Control::Failed { text }) => Err(failed(printable(text))),
        Ok(Control::Refuse { reason, .. }) => Err(failed(format!("refused: {reason}"))),
        Ok(_) => Err(unreadable("another message".to_owned())),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

fn floats(bytes: &[u8]) -> Result<Vec<f32>, FeatureError> {
    let mut values = vec![0.0; bytes.len() / 4];
    read_exact(bytes, 1, &mut values)?;
    Ok(values)
}
