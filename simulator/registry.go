package simulator

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/fieldloom/fieldloom/simulator/record"
)

// A Speaker speaks a protocol that an author brings, on one TCP server. Its methods may be
// called concurrently.
type Speaker interface {
	// Serve answers on a connection until it ends or ctx does. It need not close it.
	Serve(ctx context.Context, c net.Conn)
	// Stray is how many requests were none that it knows.
	Stray() uint64
}

// A Maker makes the Speaker of a server.
type Maker func(c *ServerConfig) (Speaker, error)

// built are the protocols of this package. An author's are in Config.Protocols.
var built = map[Protocol]func(*Server, *ServerConfig, imageCache) (endpoint, error){
	Modbus:   newModbusServer,
	MQTT:     func(s *Server, c *ServerConfig, _ imageCache) (endpoint, error) { return newBroker(s, c) },
	Serial:   func(s *Server, c *ServerConfig, _ imageCache) (endpoint, error) { return newSerialLine(s, c) },
	Playback: func(_ *Server, c *ServerConfig, _ imageCache) (endpoint, error) { return newSpeaking(c, newPlayback) },
}

// newEndpoint makes what a server does by its protocol.
func (s *Simulator) newEndpoint(srv *Server, c *ServerConfig, images imageCache) (endpoint, error) {
	if maker, ok := built[c.Protocol]; ok {
		return maker(srv, c, images)
	}
	if maker, ok := s.protocols[c.Protocol]; ok {
		return newSpeaking(c, maker)
	}
	names := slices.Concat(slices.Collect(maps.Keys(built)), slices.Collect(maps.Keys(s.protocols)))
	slices.Sort(names)
	var words []string
	for _, n := range names {
		words = append(words, string(n))
	}
	return nil, fmt.Errorf("protocol %q is unknown: it is %s", c.Protocol, strings.Join(words, ", "))
}

// speaking is a TCP port on which a Speaker speaks.
type speaking struct {
	*port
	speaker Speaker
	ctx     context.Context
	stop    context.CancelFunc
}

var _ endpoint = (*speaking)(nil)

func newSpeaking(c *ServerConfig, maker Maker) (endpoint, error) {
	speaker, err := maker(c)
	if err != nil {
		return nil, err
	}
	s := &speaking{speaker: speaker}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.port = newPort(c.Listen, func(conn net.Conn) { s.speaker.Serve(s.ctx, conn) })
	return s, nil
}

func (s *speaking) close() error {
	s.stop()
	return s.port.close()
}

func (s *speaking) counts(c *ServerCounts) {
	s.port.counts(c)
	c.Stray = s.speaker.Stray()
}

// playback is the device of a recording.
type playback struct{ player *record.Player }

func newPlayback(c *ServerConfig) (Speaker, error) {
	if c.Recording == "" {
		return nil, fmt.Errorf("a server that plays back needs a recording, the file of one")
	}
	f, err := os.Open(c.Recording)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := record.Read(f)
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", c.Recording, err)
	}
	return &playback{player: record.NewPlayer(r)}, nil
}

func (p *playback) Serve(ctx context.Context, c net.Conn) { p.player.Serve(ctx, c) }

func (p *playback) Stray() uint64 {
	_, strays, _ := p.player.Counts()
	return strays
}
