package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/internal/caller"
)

// A Guard keeps drivers from the API: they run as the gateway's user in most plants, and
// must not manage the gateway that confines them. Whose process opened a connection
// is looked at when it is accepted and again at every request; a connection ends with the process
// that opened it, whoever else may have it by then.
type Guard struct {
	judge func(*caller.Peer) error
	log   *slog.Logger

	mu      sync.Mutex
	told    time.Time
	unheard int // refusals since told
}

// NewGuard lets through whom judge knows to be a person's process: it returns nil. An
// error with caller.ErrDriver in its tree closes the connection without a word; any other is answered.
func NewGuard(judge func(*caller.Peer) error, log *slog.Logger) *Guard {
	return &Guard{judge: judge, log: log}
}

// Listener looks at who connects.
func (g *Guard) Listener(l net.Listener) net.Listener { return &guarded{Listener: l, guard: g} }

type guarded struct {
	net.Listener
	guard *Guard
}

// Accept implements net.Listener.
func (l *guarded) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &guardedConn{Conn: conn}
		if c.peer, c.unknown = caller.Of(conn); c.unknown == nil {
			err = l.guard.judge(c.peer)
			c.watch()
		}
		if !errors.Is(err, caller.ErrDriver) {
			return c, nil // refused at its first request, where it is not known whose it is
		}
		l.guard.report(c.peer.PID(), err)
		_ = c.cut() // it is to have nothing
	}
}

type connKey struct{}

// withConn has the requests of a connection know it.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*guardedConn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// Handler looks at every request's caller before h has it.
func (g *Guard) Handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, err := g.vet(r.Context())
		if err != nil {
			w.Header().Set("Connection", "close")
			writeProblem(w, &client.Error{Status: http.StatusForbidden, Code: "denied",
				Detail: "the API is for people: it is refused to what is not known to be theirs: " + err.Error()})
			return
		}
		h.ServeHTTP(w, r.WithContext(caller.With(r.Context(), peer)))
	})
}

// vet returns who called, or why that may not be.
func (g *Guard) vet(ctx context.Context) (*caller.Peer, error) {
	c, ok := ctx.Value(connKey{}).(*guardedConn)
	if !ok {
		return nil, errors.New("it came past the guard")
	}
	pid, err := 0, c.unknown
	if err == nil {
		pid, err = c.peer.PID(), g.judge(c.peer)
		if err == nil && c.peer.Ended() { // its connection is somebody else's by now
			err = caller.ErrGone
		}
	}
	if err != nil {
		g.report(pid, err)
	}
	return c.peer, err
}

// reportEvery is the least time between two lines about refusals: who is refused decides
// how often.
const reportEvery = 10 * time.Second

func (g *Guard) report(pid int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); now.Sub(g.told) >= reportEvery {
		g.log.Warn("a process was refused the API", "pid", pid, "err", err, "before", g.unheard)
		g.told, g.unheard = now, 0
		return
	}
	g.unheard++
}
