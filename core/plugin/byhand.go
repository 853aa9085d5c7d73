package plugin

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// EnvAttach names the environment variable that has a gateway use drivers which
// somebody started by hand: name=path of the record, separated by commas.
const EnvAttach = "FIELDLOOM_ATTACH"

// ParseAttach reads the value of EnvAttach: the records' paths by the drivers' names.
func ParseAttach(text string) (map[string]string, error) {
	paths := map[string]string{}
	for entry := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(entry) == "" {
			continue
		}
		name, path, ok := strings.Cut(strings.TrimSpace(entry), "=")
		path = strings.TrimPrefix(path, "@")
		if !ok || name == "" || path == "" {
			return nil, fmt.Errorf("%s: %q is not name=path of a record", EnvAttach, entry)
		}
		if paths[name] != "" {
			return nil, fmt.Errorf("%s: driver %s is named twice", EnvAttach, name)
		}
		paths[name] = path
	}
	return paths, nil
}

// serveByHand serves a driver that somebody started by hand, in a debugger perhaps:
// with the terminal as it is, for as long as it takes, and for whoever can read the
// record at path.
func serveByHand(s *server, name, version, path string, build func(*server, *slog.Logger) (backend, closer)) (exitCode int) {
	signal.Ignore(syscall.SIGPIPE)
	if err := s.level.UnmarshalText([]byte(os.Getenv(envLogLevel))); err != nil {
		s.level.Set(slog.LevelInfo)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: &s.level}))
	var closeAll closer
	s.backend, closeAll = build(s, log)
	h := &host{server: s, log: log, stderr: os.Stderr, orphan: orphan{byHand: true, tried: os.Getenv(envTried)}}
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
func (h *host) runByHand(name, version, path string, run func()) (err error) {
	dir, err := os.MkdirTemp("", handDirPrefix) // of mode 0700
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	record := Record{Driver: name, Version: version, Epoch: h.server.backend.epoch, Dir: dir, Hand: true}
	creds, err := record.prepare(filepath.Join(dir, "socket"))
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

// handDirPrefix begins the name of the directory of a driver that was started by hand.
const handDirPrefix = "fieldloom-"

// removeHandDir removes the directory that a driver which was started by hand has made
// for itself. The driver wrote the record: it may name any directory.
func (r Record) removeHandDir() error {
	if !strings.HasPrefix(filepath.Base(r.Dir), handDirPrefix) {
		return nil
	}
	return removeDir(r.Dir)
}

// prepare makes the keys of both sides, and fills in who the process is.
func (r *Record) prepare(address string) (credentials.TransportCredentials, error) {
	if err := checkAddress("unix", address); err != nil {
		return nil, fmt.Errorf("%w: set TMPDIR to a shorter directory", err)
	}
	core, err := newIdentity()
	if err != nil {
		return nil, err
	}
	own, err := newIdentity()
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(own.Certificate, own.Key)
	if err != nil {
		return nil, err
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(core.Certificate)
	block, _ := pem.Decode(own.Certificate)
	core.Network, core.Address, core.Version, core.PID, core.Driver = "unix", address, protocolVersion, os.Getpid(), block.Bytes
	r.Identity = core
	if err := r.observe(os.Getpid()); err != nil {
		return nil, err
	}
	if r.Image, err = imageOf(os.Getpid()); err != nil {
		return nil, err
	}
	return credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
		MinVersion: tls.VersionTLS13,
	}), nil
}

// servedByHand is what the author reads.
func servedByHand(name, version, path string) string {
	if os.Getenv(envTried) != "" {
		return fmt.Sprintf("%s (version %s) is being tried. Ctrl-C ends it.\n", name, version)
	}
	return fmt.Sprintf(`%[1]s (version %[2]s) waits for a gateway that is started with

    %[3]s=%[1]s=%[4]s

and of the same user. Ctrl-C ends it.
`, name, version, EnvAttach, path)
}
