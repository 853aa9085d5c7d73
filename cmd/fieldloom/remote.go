package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"github.com/fieldloom/fieldloom/core/client"
)

// remote is the flags of the words that talk to a running gateway.
type remote struct {
	Config string `help:"Directory of fieldloom.yaml. Default: the current one." default:"." type:"path" placeholder:"DIR"`
	Socket string `help:"The gateway's socket, instead of looking into the configuration." type:"path" placeholder:"PATH"`
}

// connect returns a client of the gateway. It does not connect yet.
func (r *remote) connect() (*client.Client, error) {
	socket, err := r.find()
	if err != nil {
		return nil, err
	}
	return client.New(socket), nil
}

// find tells where the gateway's socket is. It reads two keys only and leniently: a
// running gateway must be reached also while its files are being changed.
func (r *remote) find() (string, error) {
	if r.Socket != "" {
		return r.Socket, nil
	}
	path := filepath.Join(r.Config, "fieldloom.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		return "", &usageError{fmt.Sprintf("%v: name the gateway's directory with --config, or its socket with --socket", err)}
	}
	var keys struct{ Data, Socket string }
	if err := yaml.Unmarshal(text, &keys); err != nil {
		return "", &usageError{fmt.Sprintf("%s cannot be read: mend it, or name the socket with --socket:\n%s", path, yaml.FormatError(err, false, true))}
	}
	if keys.Socket != "" {
		return below(r.Config, keys.Socket), nil
	}
	if keys.Data == "" {
		keys.Data = "data"
	}
	return filepath.Join(below(r.Config, keys.Data), "fieldloom.sock"), nil
}

// below is path, relative to dir where it is relative.
func below(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
