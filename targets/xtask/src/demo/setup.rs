//! What every part of the demo works with.

use std::path::{Path, PathBuf};

use crate::binaries::Binaries;
use crate::provision::Provisioned;
use crate::stop::Stop;

use super::args::DemoArgs;

pub(super) struct Demo<'a> {
    pub(super) args: &'a DemoArgs,
    pub(super) provisioned: &'a Provisioned,
    pub(super) binaries: &'a Binaries,
    pub(super) bundle: &'a Path,
    pub(super) stop: &'a Stop,
}

impl Demo<'_> {
    pub(super) fn photo(&self) -> PathBuf {
        let given = self.args.photo.clone();
        given.unwrap_or_else(|| self.provisioned.sample())
    }
}
