//! Scalar search.

pub(crate) fn encode(
    dims: &[u16],
    words: usize,
    dim_major: &[f32],
    half_norms: &[f32],
    y: &[f32],
    codes: &mut [u16],
) {
    let rank = dims.iter().map(|&dim| usize::from(dim)).sum();
    for (y, codes) in y.chunks_exact(rank).zip(codes.chunks_exact_mut(dims.len())) {
        let (mut table, mut y) = (dim_major, y);
        for ((&dim, norms), code) in dims.iter().zip(half_norms.chunks_exact(words)).zip(codes) {
            let (group, after) = table.split_at(usize::from(dim) * words);
            let (axes, rest) = y.split_at(usize::from(dim));
            *code = nearest(axes, group, norms);
            (table, y) = (after, rest);
        }
    }
}

fn nearest(y: &[f32], group: &[f32], norms: &[f32]) -> u16 {
    let (mut best, mut code) = (f32::INFINITY, 0);
    for (word, &norm) in norms.iter().enumerate() {
        let axes = group.iter().skip(word).step_by(norms.len());
        let score = y.iter().zip(axes).fold(norm, |s, (&y, &c)| s - y * c);
        if score < best {
            (best, code) = (score, word as u16);
        }
    }
    code
}
