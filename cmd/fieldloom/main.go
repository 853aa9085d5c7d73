// Command fieldloom is the gateway for field devices and its command line. It wires
// the packages of the core and the simulator together and holds nothing else:
// words, flags, tables and exit codes. See `fieldloom --help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/fieldloom/fieldloom/core/client"
	_ "github.com/fieldloom/fieldloom/core/confine/early" // the shim, before everything else
	"github.com/fieldloom/fieldloom/core/gateway"
)

// The exit codes, as the help lists them.
const (
	exitOK          = 0
	exitFault       = 1 // a device, a driver or the gateway said no
	exitUsage       = 2 // the command line or the configuration is wrong
	exitUnreachable = 3 // no gateway answers on the socket: nothing was done
	exitUnconfirmed = 4 // a command was sent, and it is not known whether it was done
)

const description = `A gateway for field devices: drivers in processes of their own, samples on disk before they are acknowledged.

Exit codes: 0 well; 1 a fault of a device, a driver or the gateway; 2 the command line or the configuration is wrong; 3 no gateway answers;
4 it may have been done, or not: the answer to a command is lost. Any other code but 0 says that it was not done.
NO_COLOR turns colour off; a pipe gets plain lines.`

// words is the command line.
type words struct {
	Demo       demoWord       `cmd:"" help:"Simulator, drivers and gateway in one go, with a live table and a summary."`
	Run        runWord        `cmd:"" help:"Run the gateway."`
	Check      checkWord      `cmd:"" help:"Validate the whole configuration; connect to nothing."`
	Status     statusWord     `cmd:"" help:"Drivers, links, devices: state, since when, why, counters, rates."`
	Read       readWord       `cmd:"" help:"Read points, fresh from their devices."`
	Values     valuesWord     `cmd:"" help:"The last value of every point, its age, and since when it is unchanged."`
	Write      writeWord      `cmd:"" help:"Write a point; acknowledged by the device, or the fault."`
	Browse     browseWord     `cmd:"" help:"What a device says that it has."`
	Discover   discoverWord   `cmd:"" help:"Look for devices on a link that nobody has configured."`
	Explain    explainWord    `cmd:"" help:"What an address reads, in every way in which it may be meant."`
	Watch      watchWord      `cmd:"" help:"Show samples as they are stored."`
	Offline    offlineWord    `cmd:"" help:"Take links, devices or a driver off line, until they are brought back."`
	Online     onlineWord     `cmd:"" help:"Bring back what passes its health check."`
	Audit      auditWord      `cmd:"" help:"Who wrote what, and whether that was tampered with."`
	Events     eventsWord     `cmd:"" help:"What happened to the driver processes, and why."`
	Profile    profileWord    `cmd:"" help:"Where the gateway's own time and memory go, for go tool pprof."`
	Driver     driverWord     `cmd:"" help:"Drivers: install, upgrade, enable; their logs; make, sign and verify packages."`
	Stop       stopWord       `cmd:"" help:"Stop the gateway."`
	Sim        simWord        `cmd:"" help:"Run simulated devices alone."`
	Completion completionWord `cmd:"" help:"Print a completion script for a shell."`
	Version    versionWord    `cmd:"" help:"Print the version, as --version does."`
	Names      namesWord      `cmd:"" name:"__names" hidden:""`
}

// A screen is where a command prints.
type screen struct {
	out, err io.Writer
	lively   bool // out is a terminal: a table may be drawn over itself
	colour   bool
}

func main() {
	if len(os.Args) > 1 && (os.Args[1] == "run" || os.Args[1] == "demo") {
		joinWakeUps() // before signals are caught: one that the process caught would be lost with it
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run runs one command line and returns its exit code.
func run(args []string, out, errs *os.File) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	var w words
	left := -1
	parser := kong.Must(&w, kong.Name("fieldloom"), kong.Description(description), kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Writers(out, errs), kong.Exit(func(code int) { left = code }))
	switch {
	case len(args) > 0 && args[0] == "help":
		args = append(slices.Clone(args[1:]), "--help")
	case len(args) > 0 && args[0] == "--version": // no flag: `driver pack` has one of this name
		args = append([]string{"version"}, args[1:]...)
	}
	parsed, err := parser.Parse(valuesLast(args))
	switch {
	case left >= 0:
		return left // --help was printed
	case err != nil:
		fmt.Fprintf(errs, "fieldloom: %s; see `%s --help`\n", printableLines(err.Error()), wordOf(err))
		return exitUsage
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	parsed.Bind(newScreen(out, errs), parser.Model)
	return exitCode(parsed.Run(), errs)
}

// wordOf is the word that a command line got as far as, for whoever looks for its help.
func wordOf(err error) string {
	var wrong *kong.ParseError
	if errors.As(err, &wrong) && wrong.Context != nil {
		if node := wrong.Context.Selected(); node != nil {
			return node.FullPath()
		}
		if path := wrong.Context.Path; len(path) > 0 && path[len(path)-1].Command != nil {
			return path[len(path)-1].Command.FullPath()
		}
	}
	return "fieldloom"
}

// valuesLast puts the negative number of `write` behind all flags, after a `--`:
// it begins as a flag does.
func valuesLast(args []string) []string {
	if len(args) == 0 || args[0] != "write" {
		return args
	}
	i := slices.IndexFunc(args, func(a string) bool {
		_, err := strconv.ParseFloat(a, 64)
		return err == nil && a[0] == '-'
	})
	if i < 0 || slices.Contains(args, "--") {
		return args
	}
	return slices.Concat(args[:i], args[i+1:], []string{"--", args[i]})
}

// errReported ends a command with exitFault after it has said everything itself.
var errReported = errors.New("reported")

// exitCode prints an error, once, and tells its code.
func exitCode(err error, errs io.Writer) int {
	unconfirmed := errors.Is(err, client.ErrUnconfirmed)
	if err == nil || errors.Is(err, context.Canceled) && !unconfirmed {
		return exitOK
	}
	if !errors.Is(err, errReported) {
		fmt.Fprintf(errs, "fieldloom: %s\n", printableLines(err.Error()))
	}
	if unconfirmed {
		return exitUnconfirmed
	}
	var refused *gateway.RefusedError
	var usage *usageError
	var answer *client.Error
	switch {
	case errors.As(err, &refused), errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &answer) && (answer.Status == 400 || answer.Code == "invalid-config"):
		return exitUsage
	case errors.Is(err, client.ErrUnreachable):
		return exitUnreachable
	}
	return exitFault
}

// usageError is a wrong command line that kong could not know.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// version is what the build says of itself.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "devel"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 && v == "devel" {
			v += "-" + s.Value[:12]
		}
	}
	return v
}

type versionWord struct {
	JSON bool `help:"As JSON."`
}

// Run prints the version.
func (w *versionWord) Run(s *screen) error {
	if w.JSON {
		return printJSON(s.out, map[string]string{"version": version(), "go": runtime.Version()})
	}
	_, err := fmt.Fprintln(s.out, versionLine())
	return err
}

func versionLine() string { return fmt.Sprintf("fieldloom %s (%s)", version(), runtime.Version()) }
