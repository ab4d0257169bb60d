using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [(name = "worker.js", esModule = embed "worker.js")],
      compatibilityDate = "2026-10-23",
      compatibilityFlags = ["enable_request_signal"],
      globalOutbound = "internet",
      bindings = [(name = "UPSTREAM", fromEnvironment = "UPSTREAM")],
    )),
    (name = "internet", network = (allow = ["local"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")]
);
