package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/gateway"
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

// find tells where the gateway's socket is.
func (r *remote) find() (string, error) {
	if r.Socket != "" {
		return r.Socket, nil
	}
	keys, err := r.read()
	if err != nil {
		return "", err
	}
	if keys.Socket != "" {
		return below(r.Config, keys.Socket), nil
	}
	return filepath.Join(keys.Data, config.DefaultSocket), nil
}

// dataDir tells where the gateway's data are.
func (r *remote) dataDir() (string, error) {
	keys, err := r.read()
	return keys.Data, err
}

// places are the keys of fieldloom.yaml that say where a gateway is found.
type places struct{ Data, Socket string }

// read reads two keys only and leniently: a running gateway must be reached also while its
// files are being changed.
func (r *remote) read() (keys places, err error) {
	path := filepath.Join(r.Config, config.MainFile)
	text, err := os.ReadFile(path)
	if good := gateway.LastGood(r.Config); good != nil && (err != nil || yaml.Unmarshal(text, &keys) != nil) {
		if c, err := good.Config(r.Config); err == nil { // a gateway runs with that
			return places{c.DataDir, c.Socket}, nil
		}
	}
	if err != nil {
		return keys, &usageError{fmt.Sprintf("%v: name the gateway's directory with --config, or its socket with --socket", err)}
	}
	if err := yaml.Unmarshal(text, &keys); err != nil {
		return keys, &usageError{fmt.Sprintf("%s cannot be read: mend it, or name the socket with --socket:\n%s", path, yaml.FormatError(err, false, true))}
	}
	if keys.Data == "" {
		keys.Data = config.DefaultData
	}
	keys.Data = below(r.Config, keys.Data)
	return keys, nil
}

// below is path, relative to dir where it is relative.
func below(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
