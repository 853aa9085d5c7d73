package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fieldloom/fieldloom/core/internal/socket"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

const (
	defaultStart     = 10 * time.Second
	defaultTailLines = 20
)

// A Command says how a driver process is started.
type Command struct {
	Name     string       // the driver's name, for logs and errors
	Path     string       // the executable
	Args     []string     // without the executable's name
	Env      []string     // all of its environment beside the handshake's own variables; nothing is inherited
	Log      *slog.Logger // the driver's lines arrive here, with driver and pid; nil: nowhere
	Services Services     // answers the driver's questions; nil: there are none to be had
	Plain    bool         // no TLS: for measurements only

	StartTimeout     time.Duration // until it has described itself; default 10 s
	HeartbeatTimeout time.Duration // silence that ends an attachment; default 5 s
	RunDir           string        // where the private socket directory is made; default os.TempDir()
	TailLines        int           // how many last lines Exit holds; default 20

	// Prepare may change the command before it is started: its path, arguments, ExtraFiles and
	// SysProcAttr. Confinement and verified images come in by it. started, which may be nil, is
	// called once: with nil when the process is there and a note of it on disk, so that it may
	// begin, or with the reason why it must not. It must not wait for the process.
	Prepare func(cmd *exec.Cmd, socketDir string) (started func(error), err error)
	// Notes is the directory of the notes by which a later core finds what this one has
	// started, see Leftovers; default RunDir. It must be the user's alone to write.
	Notes string
	// Owner marks the process, in its environment, as one of those who have the same
	// mark; a later core finds it by that where its note is gone. Empty: no mark.
	Owner string

	// Start starts the prepared command; nil: by its own method. Who must know a process
	// before any of its code runs does it here.
	Start func(cmd *exec.Cmd) error

	// Detach makes a process that outlives this core: see Record, Release and Reattach. Each
	// file that it writes is bounded to 64 MiB beside its spill, because its lines go to files.
	Detach bool
	// Orphan is how long the process runs without a core before it drains and exits; default 5
	// min detached, 3 s otherwise, or when it was given no links.
	Orphan time.Duration
	// Spill is how many bytes on disk its ring may take; 0: none.
	Spill int64
	// Room bounds the process's directory, where this core may mount.
	Room Room
	// Level is the lowest level of the lines that the driver writes; see SetLevel.
	Level slog.Level
	// Image is the SHA-256 of the executable in hexadecimal digits, where the caller
	// knows it; otherwise Record reads the executable.
	Image string
	// OnLine hears every line of the driver that is not too much, also below the level
	// that Log keeps. It is called by one goroutine at a time and must not block; nil: nobody does.
	OnLine func(Line)
}

// A Line is one line that a driver wrote.
type Line struct {
	Time   time.Time
	Level  slog.Level
	Stream string // stdout or stderr
	PID    int
	Text   string
	Attrs  []slog.Attr // of a structured line
}

// environment returns the variables that a driver gets beside those of go-plugin.
func (c Command) environment() []string {
	env := []string{wire.EnvLogLevel + "=" + c.Level.String()}
	if c.Owner != "" {
		env = append(env, wire.EnvOwner+"="+c.Owner)
	}
	if c.Detach {
		env = append(env, wire.EnvDetach+"=1")
	}
	if c.Orphan > 0 {
		env = append(env, wire.EnvOrphan+"="+c.Orphan.String())
	}
	if c.Spill > 0 {
		env = append(env, wire.EnvSpill+"="+strconv.FormatInt(c.Spill, 10))
	}
	return env
}

func (c Command) withDefaults() Command {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Log = c.Log.With("driver", c.Name)
	if c.StartTimeout <= 0 {
		c.StartTimeout = defaultStart
	}
	if c.HeartbeatTimeout <= 0 {
		c.HeartbeatTimeout = wire.SilenceLimit
	}
	if c.RunDir == "" {
		c.RunDir = os.TempDir()
	}
	if c.Notes == "" {
		c.Notes = c.RunDir
	}
	if c.TailLines <= 0 {
		c.TailLines = defaultTailLines
	}
	return c
}

// Launch starts a driver process, and returns when it has described itself. ctx
// bounds the start, not the life of the process. After an error nothing is left of it.
// The caller owns the Process and ends it with Stop.
func Launch(ctx context.Context, c Command) (*Process, error) {
	c = c.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, c.StartTimeout)
	defer cancel()
	p, err := launch(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("start driver %s: %w", c.Name, err)
	}
	return p, nil
}

func launch(ctx context.Context, c Command) (*Process, error) {
	dir, err := filepath.Abs(c.RunDir)
	if err != nil {
		return nil, err
	}
	if len(dir) > socket.MaxRunDir {
		return nil, fmt.Errorf("run directory %s: its sockets' paths would take %d bytes, %d are possible: choose a shorter directory",
			dir, len(dir)+socket.MaxPath-socket.MaxRunDir, socket.MaxPath)
	}
	id, err := wire.NewIdentity()
	if err != nil {
		return nil, err
	}
	run, err := start(ctx, c, dir, id)
	if err != nil {
		return nil, err
	}
	p, err := connect(ctx, c, run, id)
	if err != nil {
		run.kill()
		return nil, describeFailure(ctx, run, err)
	}
	return p, nil
}

// start goes through go-plugin as far as the handshake. Its Client is not used
// after that: it would dial with a broker and a copy of standard output, which end
// for good with the core that opened them, and its Kill can hang.
func start(ctx context.Context, c Command, dir string, id wire.Identity) (*process, error) {
	var run *process
	unwatch := func() bool { return false }
	defer func() { unwatch() }()
	env := append(c.environment(), c.Env...)
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  wire.HandshakeConfig(),
		VersionedPlugins: wire.VersionedPlugins(nil),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		SkipHostEnv:      true,
		StartTimeout:     c.StartTimeout,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: dir},
		Logger:           hclog.NewNullLogger(),
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, socketDir string) (runner.Runner, error) {
			env = append(env, cmd.Env...)
			if !c.Plain {
				env = append(env, wire.EnvClientCert+"="+string(id.Certificate))
			}
			run = newProcess(c, socketDir, env)
			c.Room.mount(socketDir)
			if c.Prepare != nil {
				started, err := c.Prepare(run.cmd, socketDir)
				if err != nil {
					return nil, fmt.Errorf("prepare the start: %w", err)
				}
				run.told = started
			}
			// go-plugin's Start knows no context.
			unwatch = context.AfterFunc(ctx, run.kill)
			return run, nil
		},
	})
	_, err := client.Start()
	if err == nil {
		return run, nil
	}
	if run == nil {
		return nil, err
	}
	if !run.running() {
		return nil, errors.Join(err, run.clear())
	}
	run.kill()
	return nil, describeFailure(ctx, run, err)
}

// describeFailure finds the reason that helps: what was wrong with the handshake, or
// how the process ended, before what go-plugin made of it. It waits for the end.
func describeFailure(ctx context.Context, run *process, err error) error {
	<-run.finished
	shake, refusal := run.handshake()
	switch {
	case refusal != nil:
		return withLastLine(refusal, run.exit)
	case run.exit.Signal != syscall.SIGKILL.String() || !run.wasKilled():
		return fmt.Errorf("it ended before it was ready: %v", run.exit)
	case ctx.Err() != nil:
		return withLastLine(fmt.Errorf("it was not ready in time: %w", ctx.Err()), run.exit)
	case shake.version == 0:
		return withLastLine(errors.New("it gave no handshake on its standard output"), run.exit)
	}
	return withLastLine(err, run.exit)
}

func withLastLine(err error, e Exit) error {
	if len(e.Stderr) == 0 {
		return err
	}
	return fmt.Errorf("%w; its last line: %s", err, e.Stderr[len(e.Stderr)-1])
}

// connect asks the process what it is.
func connect(ctx context.Context, c Command, run *process, id wire.Identity) (*Process, error) {
	shake, _ := run.handshake()
	id.Network, id.Address, id.Version, id.PID = shake.network, shake.address, shake.version, run.cmd.Process.Pid
	id.Driver = shake.certificate
	p, err := speak(ctx, c, run, id)
	if p != nil {
		p.dir = run.dir
	}
	if err == nil && c.Detach {
		p.record.Dir, p.record.Note = run.dir, run.note
		err = p.record.Observe(id.PID)
	}
	if err != nil {
		p.abandon()
		return nil, err
	}
	p.serveQuestions()
	return p, nil
}

// speak dials the process and asks what it is. The Process must be abandoned after an
// error; it may be nil.
func speak(ctx context.Context, c Command, run running, id wire.Identity) (*Process, error) {
	creds := insecure.NewCredentials()
	if !c.Plain {
		if id.Driver == nil {
			return nil, errors.New("its handshake has no certificate: the driver does not speak TLS, which every driver must")
		}
		config, err := id.TLS()
		if err != nil {
			return nil, err
		}
		creds = credentials.NewTLS(config)
	}
	conn, err := dial(id.Network, id.Address, creds)
	if err != nil {
		return nil, err
	}
	p := newHandle(c, run, conn, id)
	if p.described, err = p.Describe(ctx); err != nil {
		return p, fmt.Errorf("describe: %w", err)
	}
	p.record.Driver, p.record.Version, p.record.Epoch = c.Name, p.described.Version, p.described.ProcessEpoch
	p.record.Identity = id
	return p, nil
}

// dial makes the one connection to a process.
func dial(network, address string, creds credentials.TransportCredentials) (*grpc.ClientConn, error) {
	var d net.Dialer
	return grpc.NewClient("passthrough:///"+wire.ServerName,
		grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return d.DialContext(ctx, network, address)
		}),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(wire.Codec{Limits: wire.AnswerLimits()}),
			grpc.MaxCallRecvMsgSize(wire.MaxReceiveCore),
			grpc.MaxCallSendMsgSize(wire.MaxReceiveDriver),
		),
		grpc.WithWriteBufferSize(wire.WriteBuffer),
		grpc.WithReadBufferSize(wire.ReadBuffer),
		grpc.WithStaticStreamWindowSize(wire.Window),
		grpc.WithStaticConnWindowSize(2*wire.Window),
		grpc.WithIdleTimeout(0),
		grpc.WithDisableServiceConfig(),
	)
}
