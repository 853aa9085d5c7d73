package plugin

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
	"github.com/fieldloom/fieldloom/core/internal/procs"
)

const (
	// closeLimit bounds the closing of the links when the process ends.
	closeLimit = 2 * time.Second
	// window is what HTTP/2 may have in flight on one stream. Credit bounds
	// telemetry to less, so that flow control never holds up the stream, and a fixed
	// size spares the probing for a better one.
	window = 8 << 20
	// writeBuffer and readBuffer are what one system call moves at most. A larger
	// one only makes TLS records wait for each other.
	writeBuffer = 64 << 10
	readBuffer  = 64 << 10
)

// Serve runs d as a driver process and does not return: it is the whole main of a
// driver.
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
			Encode:  frameEncoder(),
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
	n, err := strconv.ParseInt(os.Getenv(envSpill), 10, 64)
	if err != nil || os.Getenv(envSocketDir) == "" {
		return 0
	}
	return max(0, n)
}

func spillDir() string {
	if spillBytes() == 0 {
		return ""
	}
	return os.Getenv(envSocketDir)
}

// closer closes the links; it gives up when its context ends.
type closer func(context.Context) error

func serve(name, version string, stderr *os.File, build func(*server, *slog.Logger) (backend, closer)) (exitCode int) {
	s := newServer(newQuestions())
	if path := os.Getenv(envServe); path != "" {
		return serveByHand(s, name, version, path, build)
	}
	if os.Getenv(envCookie) != cookie {
		_, _ = io.WriteString(stderr, byHand(name, version))
		return 2
	}
	// The core decides when a driver ends: not a Ctrl-C in its terminal, not a line
	// written to the stderr of a core that is dead, and not one too many.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGINT, syscall.SIGXFSZ)
	log := driverLog(stderr, &s.level)
	if text := versionMismatch(name, os.Getenv(envVersions)); text != "" {
		log.Error(text) // the core reads our version in the handshake and ends this
	}
	var closeAll closer
	s.backend, closeAll = build(s, log)
	h := &host{server: s, log: log, stderr: stderr, orphan: orphanFromEnv(stderr)}
	h.serve = func() {
		goplugin.Serve(&goplugin.ServeConfig{
			HandshakeConfig:  handshakeConfig(),
			VersionedPlugins: versionedPlugins(s.register),
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
func (h *host) run(closeAll closer, signals ...os.Signal) (exitCode int) {
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

// host is the gRPC server of the process and what may end it.
type host struct {
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

// newServer makes the gRPC server for go-plugin, whose options bring TLS. It sends
// no keepalives: on a Unix socket the kernel tells of a dead peer, and the
// heartbeats of Attach of one that hangs.
func (h *host) newServer(opts []grpc.ServerOption) *grpc.Server {
	opts = append(opts,
		grpc.ForceServerCodecV2(codec{}),
		grpc.MaxRecvMsgSize(maxReceiveDriver),
		grpc.MaxSendMsgSize(maxReceiveDriver),
		grpc.WriteBufferSize(writeBuffer),
		grpc.ReadBufferSize(readBuffer),
		grpc.StaticStreamWindowSize(window),
		grpc.StaticConnWindowSize(2*window),
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

func (h *host) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if !h.orphan.byHand {
		h.once.Do(h.restoreOutput)
	}
	return handler(ctx, req)
}

// restoreOutput undoes go-plugin's diversion of os.Stdout and os.Stderr into pipes
// inside this process: nobody reads them once the core has gone, and then whoever
// prints hangs for ever. It runs at the first call, Describe, before any link
// is opened and after go-plugin's change, which happens before it accepts.
func (h *host) restoreOutput() { os.Stdout, os.Stderr = h.stderr, h.stderr }

func (h *host) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	if h.grpc != nil {
		h.grpc.Stop() // ends goplugin.Serve
	}
}

// removeSocketDir removes the private directory, empty once the listener is
// closed, and the note beside it: a core killed with kill -9 cannot. A confined process
// cannot either.
func removeSocketDir() {
	if dir := os.Getenv(envSocketDir); dir != "" {
		_ = os.Remove(dir)
		_ = os.Remove(noteOf(filepath.Dir(dir), dir))
	}
}

// driverLog writes lines that the core's pump understands, from the level that the
// core has set.
func driverLog(to io.Writer, level *slog.LevelVar) *slog.Logger {
	var first slog.Level // info
	if first.UnmarshalText([]byte(os.Getenv(envLogLevel))) == nil {
		level.Set(first)
	}
	return slog.New(slog.NewJSONHandler(to, &slog.HandlerOptions{Level: level}))
}
