package plugin

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
	"github.com/fieldloom/fieldloom/core/internal/procs"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

const (
	// closeLimit bounds the closing of the links when the process ends.
	closeLimit = 2 * time.Second
)

// Serve runs d as a driver process and does not return: it is the whole main of a driver.
//
//	func main() { plugin.Serve(modbus.New()) }
//
// The process ends when the core asks it to, or within five seconds of the core's
// death, and leaves no file behind. What the driver writes to its Env.Log, to
// standard error and, once it runs, to standard output arrives in the core's log.
func Serve(d driver.Driver) {
	info := d.Info()
	os.Exit(serve(info.Name, info.Version, os.Stderr, func(s *server, log *slog.Logger) (backend, closer) {
		e := engine.New(d, engine.Options{
			Log:     log,
			Store:   func(link string) driver.Store { return &store{questions: s.questions, link: link} },
			Secrets: func(link string) driver.Secrets { return &secrets{questions: s.questions, link: link} },
			Gateway: &gateway{questions: s.questions},
			Encode:  wire.FrameEncoder(),
			Spill:   spillDir(), SpillBytes: spillBytes(),
			OnEvent: s.event,
		})
		return backend{
			control: e, ring: e.Ring(), epoch: e.Epoch(), progress: e.Progress, conditions: e.Conditions,
		}, e.Close
	}))
}

// spillBytes is how much of the disk the core lets the ring take, and spillDir where:
// beside the socket, which is the only directory that a confined driver can write to.
func spillBytes() int64 {
	n, err := strconv.ParseInt(os.Getenv(wire.EnvSpill), 10, 64)
	if err != nil || os.Getenv(wire.EnvSocketDir) == "" {
		return 0
	}
	return max(0, n)
}

func spillDir() string {
	if spillBytes() == 0 {
		return ""
	}
	return os.Getenv(wire.EnvSocketDir)
}

// closer closes the links; it gives up when its context ends.
type closer func(context.Context) error

func serve(name, version string, stderr *os.File, build func(*server, *slog.Logger) (backend, closer)) (exitCode int) {
	s := newServer(newQuestions())
	if path := os.Getenv(wire.EnvServe); path != "" {
		return serveByHand(s, name, version, path, build)
	}
	if os.Getenv(wire.EnvCookie) != wire.Cookie {
		_, _ = io.WriteString(stderr, byHand(name, version))
		return 2
	}
	signal.Ignore(ignored...)
	log := driverLog(stderr, &s.level)
	if text := versionMismatch(name, os.Getenv(wire.EnvVersions)); text != "" {
		log.Error(text) // the core reads our version in the handshake and ends this
	}
	var closeAll closer
	s.backend, closeAll = build(s, log)
	h := &process{server: s, log: log, stderr: stderr, orphan: orphanFromEnv(stderr)}
	h.serve = func() {
		goplugin.Serve(&goplugin.ServeConfig{
			HandshakeConfig:  wire.HandshakeConfig(),
			VersionedPlugins: wire.VersionedPlugins(s.register),
			GRPCServer:       h.newServer,
			Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: stderr, JSONFormat: true}),
		})
	}
	// Within run, while SIGTERM is taken: the kernel sends one for each thread of a core
	// that dies.
	return h.run(func(ctx context.Context) error {
		defer removeSocketDir()
		return closeAll(ctx)
	}, syscall.SIGTERM)
}

// run serves until the core or a signal ends it.
func (h *process) run(closeAll closer, signals ...os.Signal) (exitCode int) {
	ctx, cancel := context.WithCancel(context.Background())
	term := make(chan os.Signal, 1) // before the handshake: from then on the core may send it
	signal.Notify(term, signals...)
	defer signal.Stop(term)
	var watch sync.WaitGroup
	watch.Go(func() { h.watch(ctx, term) })
	watch.Go(func() { procs.Fit(ctx) })
	h.serve()
	cancel()
	// Links that do not close must not keep the process.
	stuck := time.AfterFunc(closeLimit+time.Second, func() {
		removeSocketDir()
		os.Exit(1)
	})
	defer stuck.Stop()
	watch.Wait()
	closing, done := context.WithTimeout(context.Background(), closeLimit)
	defer done()
	if err := closeAll(closing); err != nil {
		h.log.Warn("close links at the end of the process", "err", err)
		return 1
	}
	return 0
}

// process is the gRPC server of the process and what may end it.
type process struct {
	server *server
	serve  func() // until stop
	log    *slog.Logger
	stderr *os.File
	orphan orphan

	mu   sync.Mutex
	grpc *grpc.Server // nil: not made yet
	over bool         // stop was called
	once sync.Once
}

// newServer makes the gRPC server for go-plugin, whose options bring TLS. It sends no
// keepalives: on a Unix socket the kernel tells of a dead peer, and the heartbeats of Attach of
// one that hangs.
func (h *process) newServer(opts []grpc.ServerOption) *grpc.Server {
	opts = append(opts,
		grpc.ForceServerCodecV2(wire.Codec{}),
		grpc.MaxRecvMsgSize(wire.MaxReceiveDriver),
		grpc.MaxSendMsgSize(wire.MaxReceiveDriver),
		grpc.WriteBufferSize(wire.WriteBuffer),
		grpc.ReadBufferSize(wire.ReadBuffer),
		grpc.StaticStreamWindowSize(wire.Window),
		grpc.StaticConnWindowSize(2*wire.Window),
		grpc.UnaryInterceptor(h.unary),
	)
	server := grpc.NewServer(opts...)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.grpc = server
	if h.over {
		server.Stop()
	}
	return server
}

func (h *process) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if !h.orphan.byHand {
		h.once.Do(h.restoreOutput)
	}
	return handler(ctx, req)
}

// restoreOutput undoes go-plugin's diversion of os.Stdout and os.Stderr into pipes
// inside this process: nobody reads them once the core has gone, and then whoever
// prints hangs for ever. It runs at the first call, Describe, before any link
// is opened and after go-plugin's change, which happens before it accepts.
func (h *process) restoreOutput() { os.Stdout, os.Stderr = h.stderr, h.stderr }

func (h *process) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	if h.grpc != nil {
		h.grpc.Stop() // ends goplugin.Serve
	}
}

// removeSocketDir removes the private directory, empty once the listener is closed, and the
// note beside it: a core killed with kill -9 cannot. A confined process cannot either.
func removeSocketDir() {
	if dir := os.Getenv(wire.EnvSocketDir); dir != "" {
		_ = os.Remove(dir)
		_ = os.Remove(wire.NoteOf(filepath.Dir(dir), dir))
	}
}

// driverLog writes lines that the core's pump understands, from the level that the
// core has set.
func driverLog(to io.Writer, level *slog.LevelVar) *slog.Logger {
	var first slog.Level // info
	if first.UnmarshalText([]byte(os.Getenv(wire.EnvLogLevel))) == nil {
		level.Set(first)
	}
	return slog.New(slog.NewJSONHandler(to, &slog.HandlerOptions{Level: level}))
}

// versionMismatch is what the driver says on its stderr when the core offers no version that it
// speaks; the core says the same of the driver. It is empty when one fits.
func versionMismatch(driver, offered string) string {
	if offered == "" || slices.Contains(strings.Split(offered, ","), strconv.Itoa(wire.ProtocolVersion)) {
		return ""
	}
	return fmt.Sprintf("driver %s speaks version %d of the driver protocol, the gateway offers %s: update the one that is older",
		driver, wire.ProtocolVersion, offered)
}

// byHand is what somebody reads who starts a driver in a terminal.
func byHand(name, version string) string {
	return fmt.Sprintf(`%[1]s is a driver of the Fieldloom gateway (version %[2]s).
It does nothing by itself: the gateway starts it when a link says so.

Put it into the gateway's drivers directory as driver-%[1]s and write

    links:
      line1:
        driver: %[1]s

into a file of the links directory; then: fieldloom run
`, name, version)
}
