package client

import (
	"context"
	"net"
	"os"
	"path/filepath"

	"github.com/fieldloom/fieldloom/core/internal/socket"
)

// dial connects to a socket whose path may be longer than an address can hold:
// then it goes by a descriptor of the socket's directory.
func dial(ctx context.Context, path string) (net.Conn, error) {
	var dialer net.Dialer
	if len(path) <= socket.MaxPath {
		return dialer.DialContext(ctx, "unix", path)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	return dialer.DialContext(ctx, "unix", socket.In(dir, filepath.Base(path)))
}
