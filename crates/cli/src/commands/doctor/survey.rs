//! Every backend of this build as it stands here, and which of them a sandbox would get.

use std::path::Path;

use agentkernel_backend::Probe;
use agentkernel_backends::provision::whole_probe;
use agentkernel_config::{Outside, Settings};
use agentkernel_engine::{BackendReport, Engine};
use agentkernel_model::{BackendName, ImageRef};

use super::default_run::DefaultRun;
use crate::application::Application;
use crate::output::{CliError, describe};
use crate::outside::firecracker_settings;

/// One backend.
#[derive(Debug)]
pub(crate) struct Surveyed {
    /// What it says of itself.
    pub(crate) report: BackendReport,
    /// What would become of a default run; `None` where it isn't ready or the settings are wrong.
    pub(crate) default_run: Option<DefaultRun>,
    /// Whether sandboxes are made with it where the command line names none.
    pub(crate) used: bool,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Survey {
    /// In the order of automatic choice.
    pub(crate) backends: Vec<Surveyed>,
    /// The backend that the settings name, and where.
    pub(crate) named: Option<(BackendName, String)>,
}

impl Survey {
    /// Asks every backend. Makes nothing but the state folder.
    pub(crate) async fn make(
        application: &Application,
        state_dir: &Path,
        settings: Option<&Settings>,
    ) -> Result<Self, CliError> {
        let engine = match settings {
            Some(settings) => application.open(&settings.state_dir, &settings.outside)?,
            None => application.engine_without_recovery(state_dir)?,
        };
        let named = settings.and_then(|settings| Some((settings.backend.clone()?, origin(settings))));
        let mut backends = Vec::new();
        let environment_alone;
        let microvm = match settings {
            Some(settings) => &settings.outside.microvm,
            None => {
                environment_alone = Outside::of(&application.environment);
                &environment_alone.microvm
            }
        };
        for mut report in engine.backends().await {
            if report.name.as_str() == "firecracker" {
                let folder = state_dir.join("firecracker");
                report.probe = whole_probe(&firecracker_settings(microvm), &folder, report.probe).await;
            }
            let default_run = match settings {
                Some(settings) if matches!(report.probe, Probe::Ready { .. }) => {
                    Some(default_run(&engine, &report.name, settings, application).await)
                }
                _ => None,
            };
            let used = match &named {
                Some((name, _)) => *name == report.name,
                None => report.selected,
            };
            backends.push(Surveyed { report, default_run, used });
        }
        Ok(Self { backends, named })
    }

    /// The backend that a default run gets, ready or not.
    pub(crate) fn used(&self) -> Option<&Surveyed> {
        self.backends.iter().find(|backend| backend.used)
    }

    /// Why it is that one: `named by environment AGENTKERNEL_BACKEND`.
    pub(crate) fn because(&self) -> String {
        if let Some((_, origin)) = &self.named {
            return format!("named by {origin}");
        }
        let order: Vec<&str> = self
            .backends
            .iter()
            .filter(|backend| backend.report.automatic)
            .map(|backend| backend.report.name.as_str())
            .collect();
        match order.as_slice() {
            [_] => "the only one of this build".to_owned(),
            order => format!("the first that is ready of {}", order.join(", ")),
        }
    }
}

impl Surveyed {
    /// Whether a default run would work with it.
    pub(crate) fn works(&self) -> bool {
        self.default_run.as_ref().is_some_and(DefaultRun::works)
    }

    /// The image that a default run would fetch first.
    pub(crate) fn fetches(&self) -> Option<&ImageRef> {
        match &self.default_run {
            Some(DefaultRun::Works { fetches, .. }) => fetches.as_ref(),
            _ => None,
        }
    }
}

fn origin(settings: &Settings) -> String {
    let all = settings.explain();
    let found = all.into_iter().find(|setting| setting.key == "sandbox.backend");
    found.map_or_else(|| "the settings".to_owned(), |setting| setting.origin.to_string())
}

async fn default_run(
    engine: &Engine,
    name: &BackendName,
    settings: &Settings,
    application: &Application,
) -> DefaultRun {
    match engine.select(Some(name)).await {
        Ok(backend) => DefaultRun::with(backend.as_ref(), settings, &application.environment).await,
        // It was ready a moment ago.
        Err(error) => DefaultRun::Refused { why: describe(&error), fix: "try again".to_owned() },
    }
}
