//! One attempt, and what both sides say of it.

use std::future::Future;
use std::pin::Pin;

use agentkernel_model::{Feature, Profile};

use crate::inside::Clues;
use crate::stage::Stage;
use crate::trial::Live;

/// `Ok`: what held it back. `Err`: how it got through.
pub(crate) type Verdict = Result<String, String>;

/// What is done from outside, beside or instead of the attempt inside.
pub(crate) type Outside = for<'a> fn(&'a Live<'a>) -> Pin<Box<dyn Future<Output = Verdict> + 'a>>;

/// One thing that hostile code tries.
pub(crate) struct Attempt {
    /// Its name in the report.
    pub(crate) name: &'static str,
    /// The profiles for which it is tried: one, where the profile makes no difference.
    pub(crate) profiles: &'static [Profile],
    /// What must be there for the attempt to mean anything.
    pub(crate) needs: &'static [Feature],
    /// The attempt, as root inside.
    pub(crate) inside: Option<fn(&Clues) -> Verdict>,
    /// More from outside, after it.
    pub(crate) outside: Option<Outside>,
    /// Prepares the host for it.
    pub(crate) bait: Option<fn(&mut Stage)>,
    /// On a terminal.
    pub(crate) tty: bool,
    /// Whether it goes for what an image holds, and means nothing on image `host`.
    pub(crate) image_only: bool,
    /// Whether it may be made on the host itself, where it must get through: the proof that it could.
    pub(crate) control: bool,
}

/// All three.
pub(crate) const EACH: &[Profile] = &Profile::ALL;
/// The one with the most grants: what it can't, none can.
pub(crate) const MOST: &[Profile] = &[Profile::Permissive];
/// The default.
pub(crate) const DEFAULT: &[Profile] = &[Profile::Moderate];

impl Attempt {
    /// An attempt inside, for these profiles.
    pub(crate) const fn inside(
        name: &'static str,
        profiles: &'static [Profile],
        inside: fn(&Clues) -> Verdict,
    ) -> Self {
        Self {
            name,
            profiles,
            needs: &[],
            inside: Some(inside),
            outside: None,
            bait: None,
            tty: false,
            image_only: false,
            control: false,
        }
    }

    /// An attempt that is driven from outside.
    pub(crate) const fn outside(name: &'static str, profiles: &'static [Profile], outside: Outside) -> Self {
        Self {
            name,
            profiles,
            needs: &[],
            inside: None,
            outside: Some(outside),
            bait: None,
            tty: false,
            image_only: false,
            control: false,
        }
    }

    pub(crate) const fn needs(mut self, needs: &'static [Feature]) -> Self {
        self.needs = needs;
        self
    }

    pub(crate) const fn bait(mut self, bait: fn(&mut Stage)) -> Self {
        self.bait = Some(bait);
        self
    }

    pub(crate) const fn then(mut self, outside: Outside) -> Self {
        self.outside = Some(outside);
        self
    }

    pub(crate) const fn control(mut self) -> Self {
        self.control = true;
        self
    }

    pub(crate) const fn of_an_image(mut self) -> Self {
        self.image_only = true;
        self
    }

    /// Whether a box on an image is another box for it: calls and sockets are the same whatever the root is.
    pub(crate) fn goes_on_images(&self) -> bool {
        const OTHERWISE: [&str; 5] = ["call_", "socket_", "network_", "bomb_", "cgroup_"];
        !OTHERWISE.iter().any(|start| self.name.starts_with(start))
    }

    pub(crate) const fn on_terminal(mut self) -> Self {
        self.tty = true;
        self
    }
}
