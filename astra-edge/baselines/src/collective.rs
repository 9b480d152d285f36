//! Collective operations: all-reduce and all-gather.

use std::ops::Range;

use anyhow::{Context, Result, ensure};

use crate::mesh::Mesh;

/// Appends values as little-endian float32.
pub(crate) fn write_f32(out: &mut Vec<u8>, values: &[f32]) {
    out.reserve(values.len() * 4);
    for value in values {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// Reads little-endian float32, and calls `combine` with each old and received value.
pub(crate) fn read_f32(
    bytes: &[u8],
    values: &mut [f32],
    combine: impl Fn(&mut f32, f32),
) -> Result<()> {
    ensure!(
        bytes.len() == values.len() * 4,
        "{} bytes for {} values",
        bytes.len(),
        values.len()
    );
    for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
        combine(value, f32::from_le_bytes(*bytes));
    }
    Ok(())
}

/// Range `index` of `total` items divided evenly into `parts`.
pub(crate) fn part(total: usize, parts: usize, index: usize) -> Range<usize> {
    let at = |index: usize| total * index / parts.max(1);
    at(index)..at(index + 1)
}

/// Replaces `values` by the sum of all devices' in 2 (N - 1) steps around a ring, each of an N-th of them: reduce-scatter, then
/// all-gather (Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms", 2009).
pub(crate) fn all_reduce(mesh: &mut Mesh, values: &mut [f32]) -> Result<()> {
    let (me, devices) = (mesh.me(), mesh.devices());
    let (next, previous) = ((me + 1) % devices, (me + devices - 1) % devices);
    let length = values.len();
    let chunk = |index: usize| part(length, devices, index % devices);
    for step in 0..2 * (devices - 1) {
        // A device begins with its own chunk, and then sends the chunk received last.
        let sent = values.get(chunk(me + 2 * devices - step));
        let sent = sent.context("a chunk outside the values")?;
        mesh.send(next, |out| write_f32(out, sent))?;
        let received = mesh.expect(previous)?;
        let values = values.get_mut(chunk(me + 2 * devices - step - 1));
        let values = values.context("a chunk outside the values")?;
        if step + 1 < devices {
            read_f32(&received, values, |old, new| *old += new)?;
        } else {
            read_f32(&received, values, |old, new| *old = new)?;
        }
    }
    Ok(())
}

/// Replaces each device's part of `values` by that device's values: every device sends its part to all others.
pub(crate) fn all_gather(mesh: &mut Mesh, values: &mut [f32]) -> Result<()> {
    let (me, devices, length) = (mesh.me(), mesh.devices(), values.len());
    for other in mesh.others() {
        let own = values.get(part(length, devices, me));
        let own = own.context("a part outside the values")?;
        mesh.send(other, |out| write_f32(out, own))?;
    }
    for other in mesh.others() {
        let received = mesh.expect(other)?;
        let values = values.get_mut(part(length, devices, other));
        let values = values.context("a part outside the values")?;
        read_f32(&received, values, |old, new| *old = new)?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics fails")]
mod tests {
    use super::*;

    /// Runs `work` on `devices` devices of this machine.
    fn run_on<T: Send + 'static>(devices: usize, work: fn(&mut Mesh) -> T) -> Vec<T> {
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let held: Vec<_> = (0..devices).map(|_| free()).collect();
        let addresses: Vec<_> = held.iter().map(|one| one.local_addr().unwrap()).collect();
        drop(held);
        let threads: Vec<_> = (0..devices)
            .map(|me| {
                let addresses = addresses.clone();
                std::thread::spawn(move || {
                    let mut mesh = Mesh::join(me, &addresses).unwrap();
                    let result = work(&mut mesh);
                    // A device that left earlier would close links that others still use.
                    mesh.barrier().unwrap();
                    result
                })
            })
            .collect();
        threads.into_iter().map(|one| one.join().unwrap()).collect()
    }

    #[test]
    fn every_device_gets_all_sums_and_parts() {
        let results = run_on(3, |mesh| {
            // Not a multiple of the number of devices, and larger than a packet.
            let mut sum: Vec<f32> = (0..20_000)
                .map(|at| (at * (mesh.me() + 1)) as f32)
                .collect();
            all_reduce(mesh, &mut sum).unwrap();
            let mut pieces = vec![mesh.me() as f32; 7];
            all_gather(mesh, &mut pieces).unwrap();
            (sum, pieces)
        });
        let sum: Vec<f32> = (0..20_000).map(|at| (at * 6) as f32).collect();
        for (found, pieces) in results {
            assert!(found == sum);
            assert_eq!(pieces, [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
        }
    }

    #[test]
    fn parts_cover_the_total() {
        for (total, parts) in [(9, 4), (4, 4), (1, 3), (0, 2)] {
            let all: Vec<usize> = (0..parts)
                .flat_map(|index| part(total, parts, index))
                .collect();
            assert_eq!(all, (0..total).collect::<Vec<_>>());
        }
    }
}
