//! The settings of a server's warm pool.

use agentkernel_config::PoolChoice;
use agentkernel_pool::{PoolSettings, Template};

/// The pool's settings: what the user has not chosen is the pool's own choice.
pub(crate) fn pool_settings(choice: &PoolChoice) -> PoolSettings {
    let own = PoolSettings::default();
    let template = |template: &agentkernel_config::PoolTemplate| Template {
        backend: template.backend.clone(),
        image: template.image.clone(),
        profile: template.profile,
        min: template.min,
        max: template.max,
    };
    PoolSettings {
        enabled: choice.enabled.unwrap_or(own.enabled),
        default_min: choice.min.unwrap_or(own.default_min),
        max_per_template: choice.max.unwrap_or(own.max_per_template),
        max_templates: choice.max_templates.unwrap_or(own.max_templates),
        max_memory: choice.max_memory.unwrap_or(own.max_memory),
        max_age: choice.max_age.unwrap_or(own.max_age),
        parallel_starts: choice.parallel.unwrap_or(own.parallel_starts),
        templates: choice.templates.iter().map(template).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use agentkernel_model::Mib;

    use super::*;

    #[test]
    fn what_is_not_chosen_is_the_pools_own_choice() {
        let own = PoolSettings::default();
        assert_eq!(pool_settings(&PoolChoice::default()), own);
        let chosen = PoolChoice {
            enabled: Some(false),
            max: Some(5),
            max_memory: Some(Mib(100)),
            max_age: Some(Duration::from_secs(7)),
            ..PoolChoice::default()
        };
        let expected = PoolSettings {
            enabled: false,
            max_per_template: 5,
            max_memory: Mib(100),
            max_age: Duration::from_secs(7),
            ..own
        };
        assert_eq!(pool_settings(&chosen), expected);
    }
}
