//! Which elements of a result a value is made of, and in which order.
//!
//! A view (Reshape, Transpose, Slice, Expand, ...) computes nothing: element i of it is some element of what it is a view of.
//! A [`Layout`] says which, with a stride for every dimension as numpy has it, but with several strides for a dimension that
//! was merged out of others. Two views with the same normal form hold the same elements in the same order, whatever nodes an
//! exporter wrote to get there.

/// Most elements of a value; keeps products of dimensions from overflowing.
pub(crate) const MOST_ELEMENTS: usize = 1 << 40;

/// `size` elements that are `stride` apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) size: usize,
    pub(crate) stride: usize,
}

/// Element (i, j, ...) of the view is at `offset` plus the sum over all runs of index times stride.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    offset: usize,
    /// Slowest dimension first; the runs of a dimension likewise.
    axes: Vec<Vec<Run>>,
}

impl Layout {
    /// All of a result of these dimensions.
    pub(crate) fn whole(dims: &[usize]) -> Self {
        let mut stride = 1usize;
        let mut axes: Vec<_> = dims
            .iter()
            .rev()
            .map(|&size| {
                let run = Run { size, stride };
                stride = stride.saturating_mul(size);
                vec![run]
            })
            .collect();
        axes.reverse();
        Self { offset: 0, axes }
    }

    /// One dimension for each of `runs`, from `offset` on.
    pub(crate) fn strided(offset: usize, runs: &[(usize, usize)]) -> Self {
        let axes = runs
            .iter()
            .map(|&(size, stride)| vec![Run { size, stride }]);
        Self {
            offset,
            axes: axes.collect(),
        }
    }

    /// The first element.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn dims(&self) -> Vec<usize> {
        let size = |runs: &Vec<Run>| runs.iter().map(|run| run.size).product();
        self.axes.iter().map(size).collect()
    }

    pub(crate) fn rank(&self) -> usize {
        self.axes.len()
    }

    pub(crate) fn count(&self) -> usize {
        self.dims().iter().product()
    }

    /// The runs of all dimensions, without those of one element, merged as far as they can be.
    pub(crate) fn runs(&self) -> Vec<Run> {
        merged(self.axes.iter().flatten())
    }

    /// Whether both are the same elements in the same order, whatever the dimensions.
    pub(crate) fn same_elements(&self, other: &Self) -> bool {
        self.offset == other.offset && self.runs() == other.runs()
    }

    /// Whether it is all of a result of `count` elements, in order.
    pub(crate) fn is_whole(&self, count: usize) -> bool {
        self.same_elements(&Self::whole(&[count]))
    }

    pub(crate) fn transposed(&self, perm: &[usize]) -> Option<Self> {
        let mut seen = vec![false; self.rank()];
        for &axis in perm {
            if std::mem::replace(seen.get_mut(axis)?, true) {
                return None;
            }
        }
        let axes = perm.iter().map(|&axis| self.axes.get(axis).cloned());
        let axes = axes.collect::<Option<Vec<_>>>()?;
        (axes.len() == self.rank()).then_some(Self { axes, ..*self })
    }

    /// The same elements in the same order in other dimensions; `None` if these would need elements out of two runs.
    pub(crate) fn reshaped(&self, dims: &[usize]) -> Option<Self> {
        let mut rest = self.runs();
        rest.reverse();
        let mut axes = Vec::with_capacity(dims.len());
        for &dim in dims {
            let mut runs = Vec::new();
            let mut need = dim;
            while need > 1 {
                let run = rest.pop()?;
                if need.is_multiple_of(run.size) {
                    need /= run.size;
                    runs.push(run);
                    continue;
                }
                let inner = run.size / need;
                if inner.checked_mul(need) != Some(run.size) {
                    return None;
                }
                runs.push(Run {
                    size: need,
                    stride: run.stride * inner,
                });
                rest.push(Run {
                    size: inner,
                    stride: run.stride,
                });
                need = 1;
            }
            axes.push(runs);
        }
        (rest.is_empty() && !dims.contains(&0)).then_some(Self { axes, ..*self })
    }

    /// `count` elements of a dimension, every `step`th from `first` on.
    pub(crate) fn sliced(
        &self,
        axis: usize,
        first: usize,
        count: usize,
        step: usize,
    ) -> Option<Self> {
        let mut sliced = self.clone();
        let runs = sliced.axes.get_mut(axis)?;
        let size: usize = runs.iter().map(|run| run.size).product();
        let last = first.checked_add(count.checked_sub(1)?.checked_mul(step)?)?;
        if last >= size || step == 0 {
            return None;
        }
        if (first, count) == (0, size) {
            return Some(sliced);
        }
        let all = merged(runs.iter());
        let (outer, inner) = all.split_first()?;
        let block: usize = inner.iter().map(|run| run.size).product();
        if step != 1 && block != 1 || !first.is_multiple_of(block) || !count.is_multiple_of(block) {
            return None;
        }
        let kept = Run {
            size: count / block,
            stride: outer.stride * step,
        };
        sliced.offset += first / block * outer.stride;
        *runs = [&[kept], inner].concat();
        Some(sliced)
    }

    /// The same without dimension `axis`, which has one element.
    pub(crate) fn squeezed(&self, axis: usize) -> Option<Self> {
        let size: usize = self.axes.get(axis)?.iter().map(|run| run.size).product();
        let mut squeezed = self.clone();
        squeezed.axes.remove(axis);
        (size == 1).then_some(squeezed)
    }

    /// The same with a dimension of one element before `axis`.
    pub(crate) fn unsqueezed(&self, axis: usize) -> Option<Self> {
        let mut wider = self.clone();
        (axis <= self.rank()).then(|| wider.axes.insert(axis, Vec::new()))?;
        Some(wider)
    }

    /// Dimensions of one element repeated until they are `dims`, as numpy broadcasts.
    pub(crate) fn expanded(&self, dims: &[usize]) -> Option<Self> {
        let missing = dims.len().checked_sub(self.rank())?;
        element_count(dims)?;
        let own = self.dims();
        let mut axes = vec![Vec::new(); missing];
        axes.extend(self.axes.iter().cloned());
        let sizes = std::iter::repeat_n(1, missing).chain(own);
        for ((runs, &to), from) in axes.iter_mut().zip(dims).zip(sizes) {
            match from {
                _ if from == to => {}
                1 => {
                    *runs = vec![Run {
                        size: to,
                        stride: 0,
                    }]
                }
                _ => return None,
            }
        }
        Some(Self { axes, ..*self })
    }

    /// Calls `visit` with the place of every element, in order.
    pub(crate) fn for_each(&self, visit: &mut impl FnMut(usize)) {
        walk(&self.runs(), self.offset, visit);
    }
}

/// The product of dimensions, if a value can have that many elements.
pub(crate) fn element_count(dims: &[usize]) -> Option<usize> {
    let count = dims.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim))?;
    (count <= MOST_ELEMENTS).then_some(count)
}

fn walk(runs: &[Run], offset: usize, visit: &mut impl FnMut(usize)) {
    let Some((run, inner)) = runs.split_first() else {
        return visit(offset);
    };
    for index in 0..run.size {
        walk(inner, offset + index * run.stride, visit);
    }
}

fn merged<'a>(runs: impl Iterator<Item = &'a Run>) -> Vec<Run> {
    let mut merged: Vec<Run> = Vec::new();
    for &run in runs.filter(|run| run.size != 1) {
        match merged.last_mut() {
            Some(last) if last.stride == run.size * run.stride => {
                *last = Run {
                    size: last.size * run.size,
                    stride: run.stride,
                };
            }
            _ => merged.push(run),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(layout: &Layout) -> Vec<usize> {
        let mut places = Vec::new();
        layout.for_each(&mut |place| places.push(place));
        places
    }

    /// numpy: `arange(24).reshape(2, 3, 4).transpose(2, 0, 1)[1:3].reshape(2, 6)`
    #[test]
    fn views_of_views() {
        let layout = Layout::whole(&[24]).reshaped(&[2, 3, 4]).unwrap();
        let layout = layout.transposed(&[2, 0, 1]).unwrap();
        let layout = layout
            .sliced(0, 1, 2, 1)
            .unwrap()
            .reshaped(&[2, 6])
            .unwrap();
        assert_eq!(layout.dims(), [2, 6]);
        assert_eq!(places(&layout), [1, 5, 9, 13, 17, 21, 2, 6, 10, 14, 18, 22]);
    }

    /// What attention does with `[1, 5, 3 * 2 * 4]`: its keys, `[1, 2, 4, 5]`, by two ways.
    #[test]
    fn two_ways_to_the_same_elements() {
        let all = Layout::whole(&[1, 5, 24]);
        let first = all.reshaped(&[1, 5, 3, 2, 4]).unwrap();
        let first = first.transposed(&[2, 0, 3, 1, 4]).unwrap();
        let first = first.sliced(0, 1, 1, 1).unwrap().squeezed(0).unwrap();
        let first = first.transposed(&[0, 1, 3, 2]).unwrap();
        let second = all
            .sliced(2, 8, 8, 1)
            .unwrap()
            .reshaped(&[5, 2, 4])
            .unwrap();
        let second = second
            .transposed(&[1, 2, 0])
            .unwrap()
            .unsqueezed(0)
            .unwrap();
        assert!(first.same_elements(&second));
        assert_eq!(first.dims(), second.dims());
        assert_eq!(
            second,
            Layout::strided(8, &[(1, 0), (2, 4), (4, 1), (5, 24)])
                .reshaped(&[1, 2, 4, 5])
                .unwrap()
        );
        assert!(!first.same_elements(&second.transposed(&[0, 2, 1, 3]).unwrap()));
    }

    #[test]
    fn what_is_no_view_is_none() {
        let layout = Layout::whole(&[4, 6]).transposed(&[1, 0]).unwrap();
        assert_eq!(layout.reshaped(&[5, 5]), None);
        assert_eq!(layout.reshaped(&[8, 3]), None);
        assert_eq!(layout.reshaped(&[24]).unwrap().sliced(0, 1, 4, 1), None);
        assert_eq!(layout.sliced(0, 3, 4, 1), None);
        assert_eq!(layout.sliced(0, 0, 0, 1), None);
        assert_eq!(layout.transposed(&[0, 0]), None);
        assert_eq!(layout.squeezed(0), None);
        assert_eq!(layout.expanded(&[6, 5]), None);
    }

    #[test]
    fn repeated() {
        let layout = Layout::whole(&[1, 2]).expanded(&[2, 3, 2]).unwrap();
        assert_eq!(places(&layout), [0, 1].repeat(6));
    }
}
