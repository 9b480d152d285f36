//! What a frame takes over a link of this process to itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::MeasureError;
use crate::bench::{Processes, median};
use crate::link::{CodePublisher, Link, LinkError, LinkSettings};

/// Frames sent to measure what one takes.
const FRAMES: usize = 2400;
/// Frames sent at a time, as many as a block has.
const BURST: usize = 8;
/// Round trips of a frame of one byte.
const ROUNDS: usize = 200;
/// Bytes of a frame.
const FRAME: usize = 1200;
/// Longest that the link may be silent.
const SILENCE: Duration = Duration::from_secs(10);

/// Milliseconds of processor time that a frame takes on either side, and of its way from one side to the other, over a link
/// of this process to itself.
///
/// # Errors
/// There is no such link, or it loses frames.
pub async fn link() -> Result<(f64, f64), MeasureError> {
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

async fn over(near: &Link, far: &Link) -> Result<(f64, f64), MeasureError> {
    let (sender, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    let back = Arc::new(far.publish_codes(1, 1).await?);
    let echo = Arc::clone(&back);
    let _there = far
        .subscribe_codes(1, 0, move |bytes| {
            // Only a frame of one byte is answered.
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
    let silent = || MeasureError::Frames("frames do not arrive".to_owned());
    let until = Instant::now() + SILENCE;
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
        let came = tokio::time::timeout(SILENCE, answered.recv()).await;
        came.map_err(|_| silent())?;
        trips.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let frame = frame_time(&out, &mut arrived).await?;
    Ok((frame, median(&trips) / 2.0))
}

async fn frame_time(
    out: &CodePublisher,
    arrived: &mut tokio::sync::mpsc::UnboundedReceiver<()>,
) -> Result<f64, MeasureError> {
    let this = Processes::new(&[std::process::id()]);
    let busy = || {
        let busy = this
            .busy()
            .map_err(|error| MeasureError::Frames(error.to_string()))?;
        Ok::<_, MeasureError>(busy.unwrap_or_default())
    };
    let before = busy()?;
    let frame = [7; FRAME];
    for _ in 0..FRAMES / BURST {
        for _ in 0..BURST {
            out.publish(&frame)?;
        }
        for _ in 0..BURST {
            let came = tokio::time::timeout(SILENCE, arrived.recv()).await;
            came.map_err(|_| MeasureError::Frames("frames were lost".to_owned()))?;
        }
    }
    let took = busy()?.since(before);
    // Half of it is the sender's.
    Ok((took.computing_ms + took.beside_ms) / FRAMES as f64 / 2.0)
}
