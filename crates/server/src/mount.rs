//! Other people's services beside the routes of the API.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse;
use tower_service::Service;

/// Gives `path` and all its methods to `service`. Put behind the guard like every route: who calls it has passed and needs
/// at least scope read; what more it asks for is its own business.
pub fn mounted<S>(router: Router, path: &str, service: S) -> Router
where
    S: Service<Request<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    router.route_service(path, service)
}
