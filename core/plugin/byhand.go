package plugin

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"google.golang.org/grpc"

	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// serveByHand serves a driver that somebody started by hand, in a debugger perhaps: with the
// terminal as it is, for as long as it takes, and for whoever can read the record at path.
func serveByHand(s *server, name, version, path string, build func(*server, *slog.Logger) (backend, closer)) (exitCode int) {
	signal.Ignore(syscall.SIGPIPE)
	if err := s.level.UnmarshalText([]byte(os.Getenv(wire.EnvLogLevel))); err != nil {
		s.level.Set(slog.LevelInfo)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: &s.level}))
	var closeAll closer
	s.backend, closeAll = build(s, log)
	h := &process{server: s, log: log, stderr: os.Stderr, orphan: orphan{byHand: true, tried: os.Getenv(wire.EnvTried)}}
	err := h.runByHand(name, version, path, func() {
		exitCode = h.run(closeAll, syscall.SIGTERM, syscall.SIGINT)
	})
	if err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "serve driver %s: %v\n", name, err)
		return 1
	}
	return exitCode
}

// runByHand runs with a listener and a record, both of which go with it.
func (h *process) runByHand(name, version, path string, run func()) (err error) {
	dir, err := os.MkdirTemp("", wire.HandDirPrefix) // of mode 0700
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	record := wire.Record{Driver: name, Version: version, Epoch: h.server.backend.epoch, Dir: dir, Hand: true}
	creds, err := record.Prepare(filepath.Join(dir, "socket"))
	if err != nil {
		return err
	}
	listener, err := net.Listen(record.Identity.Network, record.Identity.Address)
	if err != nil {
		return err
	}
	server := h.newServer([]grpc.ServerOption{grpc.Creds(creds)})
	h.server.register(server)
	if err := record.WriteFile(path); err != nil {
		return errors.Join(err, listener.Close())
	}
	defer func() { _ = os.Remove(path) }()
	_, _ = io.WriteString(h.stderr, servedByHand(name, version, path))
	h.serve = func() {
		if failed := server.Serve(listener); failed != nil {
			err = fmt.Errorf("serve: %w", failed)
		}
	}
	run()
	return err
}

// servedByHand is what the author reads.
func servedByHand(name, version, path string) string {
	if os.Getenv(wire.EnvTried) != "" {
		return fmt.Sprintf("%s (version %s) is being tried. Ctrl-C ends it.\n", name, version)
	}
	return fmt.Sprintf(`%[1]s (version %[2]s) waits for a gateway that is started with

    %[3]s=%[1]s=%[4]s

and of the same user. Ctrl-C ends it.
`, name, version, wire.EnvAttach, path)
}
