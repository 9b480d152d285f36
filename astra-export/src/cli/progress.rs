//! Progress bars on standard error; on something that is no terminal, nothing.

use indicatif::{ProgressBar, ProgressStyle};

/// The bar of one piece of work. It goes when dropped, leaving a line that says how long it took.
pub(super) struct Bar {
    bar: ProgressBar,
    title: &'static str,
}

impl Bar {
    pub(super) fn new(title: &'static str) -> Self {
        let style = ProgressStyle::with_template("{msg:<28} {wide_bar} {percent:>3}% {eta:>4}");
        let bar = ProgressBar::new(0).with_message(title);
        Self {
            bar: bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())),
            title,
        }
    }

    /// What the library calls with the work done and all there is.
    pub(super) fn report(&self) -> impl Fn(u64, u64) + Sync {
        |done, all| {
            self.bar.set_length(all);
            self.bar.set_position(done);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        let seconds = self.bar.elapsed().as_secs_f64();
        self.bar.finish_and_clear();
        eprintln!("{:<28} {seconds:.1} s", self.title);
    }
}
