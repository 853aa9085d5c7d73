// Command nasty is a driver that misbehaves on request, for tests that look at what becomes of
// the gateway around it. It has no hardware.
//
// The name under which it is started says how it begins:
//
//	nasty   a driver on the engine of this repository
//	wire    one that speaks the wire by itself, as one in another language does
//	again   the same, with the same process epoch at every start
//	early   prints a line before its handshake
//	vast    describes itself with 100 MB
//	babble  prints 100 MB without an end of line in place of a handshake
//
// Built with a target, it reaches for the gateway's API before all else; see reach.go.
//
// The first two do one of the deeds in deeds.go, wire.go and forge.go: at the opening of
// a link where its settings say `does: DEED`, or when the deed is written to a point
// with the address do. Until then they are healthy.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/plugin"
)

func main() {
	if os.Getenv(envChild) != "" {
		child()
		return
	}
	if order := os.Getenv(envReach); order != "" {
		reachingChild(order)
		return
	}
	if target != "" {
		reachEarly()
	}
	switch name := strings.TrimPrefix(filepath.Base(os.Args[0]), "driver-"); name {
	case "wire", "vast", "again":
		serveWire(name)
	case "early":
		fmt.Println("hello from the author")
		plugin.Serve(&nasty{name: name})
	case "babble":
		babble()
	default:
		plugin.Serve(&nasty{name: "nasty"})
	}
}

// babble never comes to the end of its first line.
func babble() {
	chunk := []byte(strings.Repeat("y", 1<<20))
	for range hundred {
		if _, err := os.Stdout.Write(chunk); err != nil {
			return
		}
	}
	time.Sleep(childLives)
}
