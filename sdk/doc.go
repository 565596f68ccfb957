// Package sdk is what the author of a NodeProbe plugin imports: a probe is a
// typed configuration and one function, a reporter likewise.
//
//	type Config struct {
//		Port uint16 `json:"port" jsonschema:"TCP port to dial"`
//	}
//
//	func New(c Config, env sdk.Env) (sdk.Prober, error) { ... }
//
//	func main() { sdk.Serve(sdk.NewProbe("banner", "1.0.0", New)) }
//
// A plain error of a run means that the target failed; [Unsupported] means that
// it cannot be measured here; [Internal] and a panic mean that the plugin broke; a
// [Group] brings panics of a run's other goroutines back to it.
// A [Finding] is a condition that lasts, a [Document] what is more than numbers;
// [On] asks for runs beside the interval, [Serves] runs something for the plugins
// of other nodes.
//
// [Defaulter] tells how a configuration is read; the package plugintest runs a
// plugin in a test. Processes, gRPC, batches and deadlines are the SDK's business.
package sdk
