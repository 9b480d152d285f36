//! Saliency maps: sends a folder of pictures, or the frames of a camera, to a cluster and draws the maps over them.
//!
//! Start devices with a bundle of a saliency model (`astra-edge run`), then one of
//!
//! ```text
//! cargo run --release -p astra-camera -- PICTURES --out MAPS --cluster home
//! ffmpeg -loglevel error -f v4l2 -i /dev/video0 -f mjpeg - | cargo run --release -p astra-camera -- - --out MAPS
//! libcamera-vid --codec mjpeg -t 0 -o - | cargo run --release -p astra-camera -- - --out MAPS
//! ```
//!
//! Of a camera, the newest frame is sent when the cluster has answered the last one; the frames in between are dropped.

mod frames;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use astra_edge::client::Client;
use astra_edge::config::{Network, Rung};
use astra_model::tasks::overlay::write_png;
use astra_wire::{Control, Hello, ImageRequest, RequestOptions};
use clap::Parser;

use frames::Newest;

/// Longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Extensions of picture files.
const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// Draw saliency maps over pictures, or over the frames of a camera.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// A picture, a folder of pictures, or - for JPEG frames on standard input.
    pictures: PathBuf,
    /// Folder for the pictures with their maps; of a camera, one file in it that is overwritten with every frame.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Bits per token per block, or exact [default: the device's].
    #[arg(long, value_name = "RUNG")]
    rung: Option<Rung>,
    #[command(flatten)]
    network: Network,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let folder = || args.out.display().to_string();
    std::fs::create_dir_all(&args.out).with_context(folder)?;
    let mut client = Client::open(&args.network).await?;
    let device = client.find(None, Duration::from_secs(5)).await?;
    let camera = Camera {
        client,
        device,
        args,
    };
    let ended = match camera.args.pictures.to_str() {
        Some("-") => camera.send_frames().await,
        _ => camera.send_files().await,
    };
    camera.client.close().await;
    ended
}

struct Camera {
    client: Client,
    device: Hello,
    args: Args,
}

impl Camera {
    async fn send_files(&self) -> Result<()> {
        for path in files(&self.args.pictures)? {
            let name = || path.display().to_string();
            let picture = std::fs::read(&path).with_context(name)?;
            let stem = path.file_stem().unwrap_or_default();
            let out = self.args.out.join(stem).with_extension("png");
            self.send(&picture, &out).await.with_context(name)?;
        }
        Ok(())
    }

    async fn send_frames(&self) -> Result<()> {
        let out = self.args.out.join("camera.png");
        let newest = Newest::of(std::io::stdin());
        let mut seen = 0;
        while let Some((number, frame)) = newest.next().await? {
            if number > seen + 1 {
                eprintln!("{} frames dropped", number - seen - 1);
            }
            seen = number;
            // The next frame may be valid.
            if let Err(error) = self.send(&frame, &out).await {
                eprintln!("frame {number}: {error:#}");
            }
        }
        Ok(())
    }

    /// Sends one picture to the cluster, and writes it with its map to a file.
    async fn send(&self, picture: &[u8], out: &Path) -> Result<()> {
        let request = Control::ImageRequest(ImageRequest {
            options: RequestOptions {
                rung: self.args.rung.map(|rung| rung.0),
                ..RequestOptions::default()
            },
            image: picture,
        });
        let answered = self
            .client
            .request(&self.device, &request, &[], ANSWER_TIMEOUT);
        let answered = answered.await?;
        write_png(out, &answered.overlay(picture)?)?;
        let members: Vec<String> = answered
            .report
            .members
            .iter()
            .map(|member| format!("{} {}", member.name, member.tokens))
            .collect();
        println!(
            "{}: {:.1} ms; tokens: {}",
            out.display(),
            answered.report.latency_ms,
            members.join(", ")
        );
        Ok(())
    }
}

/// The picture files at a path, by name.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    let name = || path.display().to_string();
    for entry in std::fs::read_dir(path).with_context(name)? {
        let path = entry.with_context(name)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let extension = extension.unwrap_or_default().to_ascii_lowercase();
        if EXTENSIONS.contains(&extension.as_str()) {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!(
            "{}: found no pictures, expected {}",
            name(),
            EXTENSIONS.join(", ")
        );
    }
    files.sort_unstable();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_its_pictures_in_order() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let error = files(&here.join("src")).unwrap_err().to_string();
        assert!(error.contains("found no pictures"), "{error}");
        assert!(files(&here.join("missing")).is_err());
        let this = here.join("Cargo.toml");
        assert_eq!(files(&this).unwrap(), [this]);
    }
}
