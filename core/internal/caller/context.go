package caller

import (
	"context"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

type peerKey struct{}

// With returns a context that knows who called.
func With(ctx context.Context, p *Peer) context.Context { return context.WithValue(ctx, peerKey{}, p) }

// From returns who called, or nil where With was not.
func From(ctx context.Context) *Peer {
	p, _ := ctx.Value(peerKey{}).(*Peer)
	return p
}

// UID is the number of the user that the peer connected as.
func (p *Peer) UID() int { return p.uid }

// User is the user's name, or the number where it has none.
func (p *Peer) User() string {
	number := strconv.Itoa(p.uid)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return number
}

// Program is the path of the peer's executable; empty where it cannot be told.
func (p *Peer) Program() string {
	path, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(p.pid), "exe"))
	if err != nil {
		return ""
	}
	return path
}
