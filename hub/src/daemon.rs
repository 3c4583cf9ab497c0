//! The running hub: one thread writes, one makes feeds, and two asynchronous ones carry links.
//!
//! * `writer` owns the engine and the only writing connection; all else sends it events. It drains what
//!   waits, takes one step (one commit for all), and then lets the answers leave.
//! * `feeds` reads on a connection of its own, so that a merge never waits for a feed; so does `audits`.
//! * `links` has two tasks per device: reading never waits for writing.
//! * The order of the end: no new links, goodbye to all, the writer finishes what came, exit 0.

mod addresses;
mod alarms;
mod audits;
mod backups;
mod control;
mod event;
mod feeds;
mod line;
mod links;
mod lock;
mod manager;
mod recorder;
mod snapshots;
mod watch;
mod writer;

use crate::backup::{self, BackupError};
use crate::ca::{Authority, CaError};
use crate::clock;
use crate::config::{Config, ConfigError, HttpTls};
use crate::control::Host;
use crate::database::{self, DatabaseError};
use crate::folder::{Folder, FolderError};
use crate::http::{self, Access, Renewal, TlsError, TokenError, Web};
use crate::journal::ship::{self, Course};
use crate::journal::watermark::Watermark;
use crate::link::{LinkError, Listener};
use crate::restore::{RestoreError, Restores};
use crate::store::history::Keep;
use crate::store::{HubStore, StoreError};
use crate::upkeep;
use event::{EVENTS_MAX, Event, Shared};
pub(crate) use line::Line;
pub(crate) use lock::Lock;
use snapshots::Snapshots;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tracing_subscriber::EnvFilter;
use tt_migrations::policy::{self, PolicyError};
use tt_migrations::state;
use tt_protocol::policy::Policy;

/// Asynchronous threads: they only carry bytes.
const WORKERS: usize = 2;

/// How long the end waits for the vaults to take the last of the journal: less than a service manager waits.
const LAST_SHIPMENT: Duration = Duration::from_secs(5);

/// How to serve.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// UDP address on which devices connect; port 0 lets the system choose.
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// TCP address of the operator's page, the API and the metrics.
    #[arg(long, value_name = "IP:PORT")]
    http: Option<SocketAddr>,
    /// Address under which devices reach this hub; kept in hub.toml. May be given several times.
    #[arg(long, value_name = "HOST:PORT", value_parser = advertised)]
    advertise: Vec<String>,
    /// Write the log as JSON lines. `TT_LOG` sets what is logged (default: info).
    #[arg(long)]
    log_json: bool,
    /// Seconds after the start at which it is looked for the first time which backups are due.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, hide = true)]
    first_look: u64,
}

/// Why the daemon did not start or could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Restore(Box<RestoreError>),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the policy kept in the database: {0}")]
    Policy(#[from] PolicyError),
    #[error("cannot open the database {path}: {source}", path = .path.display())]
    Store { path: PathBuf, source: StoreError },
    #[error("a tt-hub already serves {folder} (pid {pid}): stop it first, or choose another folder with --data", folder = .folder.display())]
    Running { folder: PathBuf, pid: String },
    #[error(
        "TCP address {0} is in use: is another program there? Stop it, or choose another address with --http"
    )]
    HttpInUse(SocketAddr),
    #[error("cannot listen on TCP address {address}: {source}; choose another with --http")]
    Http { address: SocketAddr, source: io::Error },
    #[error("cannot {what} {path}: {source}; check the owner and mode of the hub's folder", path = .path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("the system gives no {what}: {source}")]
    System { what: &'static str, source: io::Error },
    #[error("the thread that writes the database has died; start the hub again and report its log")]
    WriterDied,
}

fn advertised(text: &str) -> Result<String, String> {
    match tt_protocol::link::check_address(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Serves until the process is asked to stop.
pub(crate) fn serve(data: &Path, arguments: Arguments) -> Result<(), DaemonError> {
    let folder = Folder::of_hub(data)?;
    let _lock = Lock::take(&folder)?;
    let mut config = Config::read(&folder)?;
    if !arguments.advertise.is_empty() {
        config.keep_advertised(&folder, arguments.advertise)?;
    }
    let failed = |error: RestoreError| DaemonError::Restore(Box::new(error));
    let restores = Restores::open(&folder, &config.backup).map_err(failed)?;
    let settled = settle_restore(&restores)?;
    config.listen = arguments.listen.unwrap_or(config.listen);
    config.http = arguments.http.unwrap_or(config.http);
    let authority = Authority::load(folder.path())?;
    let path = folder.database();
    let policy = kept_policy(&path)?;
    let store = open_store(&folder, policy)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .map_err(|source| DaemonError::System { what: "threads", source })?;
    let first_look = Duration::from_secs(arguments.first_look);
    let beginning = Listening::begin(folder, config, authority, (restores, first_look));
    let listening = runtime.block_on(beginning)?;
    // Where that cannot be written, the file of addresses says it all the same.
    let _ = writeln!(io::stderr(), "tt-hub ready quic={} http={}", listening.quic, listening.http);
    begin_log(arguments.log_json);
    if let Some(settled) = settled {
        tracing::warn!("{settled}");
    }
    run(&runtime, listening, store)
}

/// A restore that was cut off gets its end before the database is used; one that is under way is waited for by
/// whoever starts the hub. Says what was found.
fn settle_restore(restores: &Restores) -> Result<Option<String>, DaemonError> {
    if !restores.is_pending() {
        return Ok(None);
    }
    let _lock = restores.backups.lock()?;
    restores.settle(clock::now().0).map_err(|error| DaemonError::Restore(Box::new(error)))
}

/// The store, opened as the daemon does, for a command that writes while none runs. As long as the lock is
/// held, none starts.
pub(crate) fn open_alone(folder: &Folder) -> Result<(Lock, HubStore), DaemonError> {
    let lock = Lock::take(folder)?;
    let policy = kept_policy(&folder.database())?;
    Ok((lock, open_store(folder, policy)?))
}

/// The policy that `init` put into the database.
pub(crate) fn kept_policy(path: &Path) -> Result<Policy, DaemonError> {
    let conn = database::open(path)?;
    let text = state::get_text(&conn, state::POLICY).map_err(|error| DatabaseError::new(path, &error))?;
    Ok(policy::kept("policy", text.as_deref())?)
}

fn open_store(folder: &Folder, policy: Policy) -> Result<HubStore, DaemonError> {
    let path = folder.database();
    HubStore::open_journaled(&path, policy, &folder.journal()).map_err(|source| match source {
        StoreError::Sqlite(error) => DatabaseError::new(&path, &error).into(),
        source => DaemonError::Store { path, source },
    })
}

/// The ready line is out by now: nothing is logged before.
fn begin_log(json: bool) {
    let filter = EnvFilter::try_from_env("TT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        // A log that has no room must not end whoever has something to say.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    // A program that runs several of our daemons in one process has set up its log already.
    let _ = if json { log.json().try_init() } else { log.try_init() };
}

/// Everything that is bound before the hub says that it is ready.
struct Listening {
    folder: Folder,
    addresses: addresses::AddressFile,
    quic: SocketAddr,
    http: SocketAddr,
    listener: Listener,
    http_listener: TcpListener,
    control: control::Socket,
    stop: [Signal; 2],
    authority: Arc<Authority>,
    host: Host,
    restores: Restores,
    /// After the start, of what backups are due.
    first_look: Duration,
    keep_days: u32,
    keep: Keep,
    maintenance: upkeep::Settings,
    settings: backup::Settings,
    access: Access,
    https: Option<(HttpTls, Renewal)>,
}

impl Listening {
    async fn begin(
        folder: Folder,
        config: Config,
        authority: Authority,
        (restores, first_look): (Restores, Duration),
    ) -> Result<Self, DaemonError> {
        let no_signals = |source| DaemonError::System { what: "signals", source };
        let stop = [
            signal(SignalKind::terminate()).map_err(no_signals)?,
            signal(SignalKind::interrupt()).map_err(no_signals)?,
        ];
        let begin = |tls: HttpTls| Renewal::begin(folder.path(), &tls).map(|renewal| (tls, renewal));
        let https = config.http_tls.clone().map(begin).transpose()?;
        let listener = Listener::bind(config.listen, &authority)?;
        let http_listener = TcpListener::bind(config.http).await.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => DaemonError::HttpInUse(config.http),
            _ => DaemonError::Http { address: config.http, source },
        })?;
        let quic = listener.local_addr();
        let http = http_listener
            .local_addr()
            .map_err(|source| DaemonError::Http { address: config.http, source })?;
        let control = control::Socket::bind(&folder)?;
        let (keep, maintenance) = (config.retention, config.maintenance);
        let access = Access::open(&folder, http, &config.http_names)?.in_secret(https.is_some());
        let addresses = addresses::AddressFile::write(&folder, quic, http)?;
        let host = Host { fingerprint: authority.fingerprint(), addresses: config.addresses(quic) };
        Ok(Self {
            folder,
            addresses,
            quic,
            http,
            listener,
            http_listener,
            control,
            stop,
            authority: Arc::new(authority),
            host,
            restores,
            first_look,
            keep_days: config.journal.keep_days,
            keep,
            maintenance,
            settings: config.backup,
            access,
            https,
        })
    }
}

fn run(runtime: &Runtime, listening: Listening, mut store: HubStore) -> Result<(), DaemonError> {
    let (course, watermark) = (Arc::new(Course::default()), Watermark::default());
    let journal = (listening.restores.journal(), listening.keep_days);
    ship::begin(&listening.restores.backups, journal, &course, &watermark)
        .map_err(|source| DaemonError::System { what: "threads", source })?;
    store.follow_watermark(watermark.clone());
    let (events, inbox) = mpsc::channel(EVENTS_MAX);
    let shared = Shared::new(events, store.version(), watermark.clone());
    let path = listening.folder.database();
    let feeds = feeds::begin(&path, shared.events.clone())?;
    let audits = audits::begin(&path, shared.events.clone())?;
    let (dead, writer_died) = oneshot::channel();
    let writer = writer::begin(
        writer::Parts {
            store,
            path: path.clone(),
            host: listening.host.clone(),
            authority: Arc::clone(&listening.authority),
            feeds,
            audits,
            shared: Arc::clone(&shared),
            course: Arc::clone(&course),
            watermark,
            keep: listening.keep,
            maintenance: listening.maintenance,
        },
        inbox,
        dead,
    )?;
    let _watch = watch::begin(&path, &shared, runtime);
    let served = runtime.block_on(serve_links(listening, &shared, writer_died));
    let _ = shared.events.blocking_send(Event::Stop);
    let joined = writer.join().map_err(|_| DaemonError::WriterDied);
    let vaults = course.end(LAST_SHIPMENT);
    if vaults > 0 {
        let waited_s = LAST_SHIPMENT.as_secs();
        tracing::warn!(
            vaults,
            waited_s,
            "vaults lack the last of the journal; it is whole in the hub's folder, and the next start brings it there"
        );
    }
    served.and(joined)
}

/// Carries links until the process is asked to stop, and says goodbye.
async fn serve_links(
    listening: Listening,
    shared: &Arc<Shared>,
    writer_died: oneshot::Receiver<()>,
) -> Result<(), DaemonError> {
    let Listening {
        folder,
        addresses,
        mut listener,
        http_listener,
        control,
        stop: [mut terminate, mut interrupt],
        restores,
        first_look,
        keep_days,
        settings,
        access,
        https,
        ..
    } = listening;
    let snapshots = Snapshots::new(&folder, Arc::clone(shared))?;
    let (https, renewal) = https.unzip();
    let web = Web::new(folder, (settings, https), Line::new(Arc::clone(shared)), access);
    tokio::spawn(http::serve(web, http_listener, renewal));
    tokio::spawn(backups::keep(restores, keep_days, first_look));
    tokio::spawn(control.serve(shared.events.clone()));
    tokio::spawn(manager::keep_alive());
    manager::ready();
    let outcome = tokio::select! {
        () = links::accept(&mut listener, shared, &snapshots) => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        _ = writer_died => Err(DaemonError::WriterDied),
    };
    manager::stopping();
    tracing::info!("the hub is stopping");
    drop(addresses);
    listener.close().await;
    outcome
}
