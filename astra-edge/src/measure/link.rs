//! What a message of code frames costs on a link from this process to itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_wire::{MAX_CODE_BATCH, MAX_FRAME};

use super::error::MeasureError;
use super::processor_time::Processes;
use super::quantile::median;
use crate::link::{CodePublisher, Link, LinkError, LinkSettings};
use crate::plan::profile::Curve;

/// Messages of a size sent to measure what one takes.
const MESSAGES: usize = 1200;
/// Messages sent at a time, as many as a member of four has of a block.
const BURST: usize = 3;
/// Round trips of a message of one byte.
const ROUNDS: usize = 200;
/// Bytes of messages: a frame, and as many as are sent at once.
const SIZES: [usize; 2] = [MAX_FRAME, MAX_CODE_BATCH];
/// Longest wait for a message.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Milliseconds of processor time that a message costs its sender or its receiver, by its bytes; and the one-way latency of a short
/// message, in milliseconds.
///
/// # Errors
/// The link does not open, or it loses messages.
pub async fn measure_link() -> Result<(Curve, f64), MeasureError> {
    let local = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let settings = |listen, connect| -> Result<LinkSettings, LinkError> {
        Ok(LinkSettings {
            cluster: "measure".parse()?,
            listen,
            connect,
            multicast: None,
        })
    };
    let far = Link::open(settings(vec![local], Vec::new())?).await?;
    let near = Link::open(settings(Vec::new(), far.addresses().await)?).await?;
    let measured = over(&near, &far).await;
    near.close().await;
    far.close().await;
    measured
}

async fn over(near: &Link, far: &Link) -> Result<(Curve, f64), MeasureError> {
    let (sender, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    let back = Arc::new(far.publish_codes(1, 1).await?);
    let echo = Arc::clone(&back);
    let _there = far
        .subscribe_codes(1, 0, move |bytes| {
            // Only a message of one byte is answered.
            if bytes.len() == 1 {
                let _ = echo.publish(bytes);
            } else {
                let _ = sender.send(());
            }
        })
        .await?;
    let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
    let _here = near
        .subscribe_codes(1, 1, move |_| {
            let _ = answers.send(());
        })
        .await?;
    let out = near.publish_codes(1, 0).await?;
    let silent = || MeasureError::Frames("messages do not arrive".to_owned());
    let until = Instant::now() + TIMEOUT;
    loop {
        out.publish(&[0])?;
        let pause = Duration::from_millis(50);
        match tokio::time::timeout(pause, answered.recv()).await {
            Ok(Some(())) => break,
            _ if Instant::now() > until => return Err(silent()),
            _ => {}
        }
    }
    let mut trips = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        out.publish(&[0])?;
        let came = tokio::time::timeout(TIMEOUT, answered.recv()).await;
        came.map_err(|_| silent())?;
        trips.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let mut times = Vec::new();
    for size in SIZES {
        times.push((size, message_time(&out, size, &mut arrived).await?));
    }
    Ok((Curve::fit_line(&times), median(&trips) / 2.0))
}

async fn message_time(
    out: &CodePublisher,
    size: usize,
    arrived: &mut tokio::sync::mpsc::UnboundedReceiver<()>,
) -> Result<f64, MeasureError> {
    let this = Processes::new(&[std::process::id()]);
    let time = || {
        let time = this.time();
        let time = time.map_err(|error| MeasureError::Frames(error.to_string()))?;
        Ok::<_, MeasureError>(time.unwrap_or_default())
    };
    let before = time()?;
    let message = vec![7; size];
    for _ in 0..MESSAGES / BURST {
        for _ in 0..BURST {
            out.publish(&message)?;
        }
        for _ in 0..BURST {
            let came = tokio::time::timeout(TIMEOUT, arrived.recv()).await;
            came.map_err(|_| MeasureError::Frames("messages were lost".to_owned()))?;
        }
    }
    let took = time()?.since(before);
    // Half of it is the sender's.
    Ok((took.computing_ms + took.other_ms) / MESSAGES as f64 / 2.0)
}
