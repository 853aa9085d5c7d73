package client

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// maxSocketPath is the longest path that fits into a sockaddr_un (unix(7): 108
// bytes with the closing zero).
const maxSocketPath = 107

// dial connects to a socket whose path may be longer than an address can hold:
// then it goes by a descriptor of the socket's directory.
func dial(ctx context.Context, socket string) (net.Conn, error) {
	var dialer net.Dialer
	if len(socket) <= maxSocketPath {
		return dialer.DialContext(ctx, "unix", socket)
	}
	dir, err := os.Open(filepath.Dir(socket))
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	return dialer.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(socket)))
}
