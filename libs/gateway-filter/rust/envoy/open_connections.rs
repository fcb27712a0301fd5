//! The filters that limit open connections by the client's address, as Envoy calls them on each worker's thread.
//!
//! Envoy's filter of a listener sees a connection from its begin until its first byte, and may close it; the one of the
//! network sees it from then on, and only counts it.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use super::abi::{self, AddressOfConnection, Buffer, ConfigPointer, FilterPointer, ModulePointer};
use crate::addresses::network;
use crate::connections::{Connections, Open};

/// Those of every listener: one that replaces another takes new connections while the old one's go on.
static CONNECTIONS: LazyLock<Connections> = LazyLock::new(Connections::default);
/// A name, and what Envoy writes about connections that are closed.
const NAME: &[u8] = b"connections";

/// The configuration of either filter.
struct Config {
    most: u64,
    rejected: usize,
}

/// One connection.
struct Filter {
    most: u64,
    rejected: usize,
    open: RefCell<Option<Open>>,
}

impl Filter {
    /// Counts the connection. False: there are too many from its network.
    fn begin(&self, envoy: FilterPointer, address: AddressOfConnection, most: u64) -> bool {
        let (mut found, mut port) = (Buffer::NONE, 0);
        // SAFETY: the pointer is that of the hook's call, in which Envoy's bytes are valid.
        let text = unsafe { address(envoy, &raw mut found, &raw mut port).then(|| found.bytes()) };
        let network = text.and_then(|text| network(std::str::from_utf8(text).ok()?));
        let Some(network) = network else { return true }; // a Unix socket
        let open = CONNECTIONS.open(network, most);
        let is_open = open.is_some();
        self.open.replace(open);
        is_open
    }
}

fn config(name: Buffer, most: Buffer) -> Option<Config> {
    // SAFETY: Envoy's buffers are valid during the hook's call.
    let (name, most) = unsafe { (name.bytes(), most.bytes()) };
    let most = std::str::from_utf8(most).ok()?.parse().ok()?;
    (name == NAME).then_some(Config { most, rejected: 0 })
}

fn owned<Value>(value: Option<Value>) -> ModulePointer {
    value.map_or(std::ptr::null(), |value| Box::into_raw(Box::new(value)).cast_const().cast())
}

fn filter(config: ModulePointer) -> ModulePointer {
    // SAFETY: Envoy passes what `config_new` returned, and keeps it while filters use it.
    let Config { most, rejected } = unsafe { &*config.cast::<Config>() };
    owned(Some(Filter { most: *most, rejected: *rejected, open: RefCell::default() }))
}

/// # Safety
///
/// `module` must be what a hook has made from a `Value`, and is not used after this.
unsafe fn destroy<Value>(module: ModulePointer) {
    // SAFETY: as above.
    drop(unsafe { Box::from_raw(module.cast_mut().cast::<Value>()) });
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_listener_filter_config_new(
    envoy: ConfigPointer,
    name: Buffer,
    most: Buffer,
) -> ModulePointer {
    let made = config(name, most).map(|mut made| {
        let counter = Buffer::of(b"connections_rejected");
        // SAFETY: the pointer is that of the hook's call; Envoy copies the name.
        unsafe {
            abi::envoy_dynamic_module_callback_listener_filter_config_define_counter(
                envoy,
                counter,
                &raw mut made.rejected,
            );
        }
        made
    });
    owned(made)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_listener_filter_config_destroy(config: ModulePointer) {
    // SAFETY: Envoy passes what `config_new` returned, once.
    unsafe { destroy::<Config>(config) };
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_listener_filter_new(config: ModulePointer, _: FilterPointer) -> ModulePointer {
    filter(config)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_listener_filter_destroy(module: ModulePointer) {
    // SAFETY: Envoy passes what `filter_new` returned, once.
    unsafe { destroy::<Filter>(module) };
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_listener_filter_on_accept(envoy: FilterPointer, module: ModulePointer) -> u32 {
    // SAFETY: Envoy passes what `filter_new` returned, until `destroy`.
    let filter = unsafe { &*module.cast::<Filter>() };
    let address = abi::envoy_dynamic_module_callback_listener_filter_get_direct_remote_address;
    let begun = catch_unwind(AssertUnwindSafe(|| filter.begin(envoy, address, filter.most)));
    if begun.unwrap_or(true) {
        return abi::CONTINUE;
    }
    // SAFETY: the pointer is that of the hook's call; Envoy copies the name.
    unsafe {
        abi::envoy_dynamic_module_callback_listener_filter_increment_counter(envoy, filter.rejected, 1);
        abi::envoy_dynamic_module_callback_listener_filter_close_socket(envoy, Buffer::of(NAME));
    }
    abi::STOP
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_listener_filter_on_data(_: FilterPointer, _: ModulePointer, _: usize) -> u32 {
    abi::CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_listener_filter_on_close(_: FilterPointer, _: ModulePointer) {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_listener_filter_get_max_read_bytes(_: FilterPointer, _: ModulePointer) -> usize {
    0 // it reads nothing
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_config_new(
    _: ConfigPointer,
    name: Buffer,
    most: Buffer,
) -> ModulePointer {
    owned(config(name, most))
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_config_destroy(config: ModulePointer) {
    // SAFETY: Envoy passes what `config_new` returned, once.
    unsafe { destroy::<Config>(config) };
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_new(config: ModulePointer, _: FilterPointer) -> ModulePointer {
    filter(config)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_destroy(module: ModulePointer) {
    // SAFETY: Envoy passes what `filter_new` returned, once.
    unsafe { destroy::<Filter>(module) };
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_new_connection(
    envoy: FilterPointer,
    module: ModulePointer,
) -> u32 {
    // SAFETY: Envoy passes what `filter_new` returned, until `destroy`.
    let filter = unsafe { &*module.cast::<Filter>() };
    let address = abi::envoy_dynamic_module_callback_network_filter_get_direct_remote_address;
    // The listener has let it pass. One that is not counted does no harm.
    let _ = catch_unwind(AssertUnwindSafe(|| filter.begin(envoy, address, u64::MAX)));
    abi::CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_read(
    _: FilterPointer,
    _: ModulePointer,
    _length: usize,
    _has_ended: bool,
) -> u32 {
    abi::CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_write(
    _: FilterPointer,
    _: ModulePointer,
    _length: usize,
    _has_ended: bool,
) -> u32 {
    abi::CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_network_filter_event(_: FilterPointer, _: ModulePointer, _event: u32) {}
