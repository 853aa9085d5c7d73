package gateway

import (
	"context"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long the files must be quiet before they are loaded: an editor
// writes several at once.
const settle = 250 * time.Millisecond

// takeReloads reloads when somebody outside asks for it.
func (g *gateway) takeReloads(ctx context.Context) error {
	for {
		select {
		case <-g.o.Reload:
			_ = g.reload(ctx) // logged, and in the status
		case <-ctx.Done():
			return nil
		}
	}
}

// watchFiles reloads when the files of the configuration change. The directories
// are watched, not the files: a file is often replaced by a rename.
func (g *gateway) watchFiles(ctx context.Context) error {
	w, err := fsnotify.NewWatcher()
	if err != nil { // the system has no watch left, say: no reason to poll no device
		g.o.Log.Warn("watch the configuration: changes need a SIGHUP", "err", err)
		return nil
	}
	defer func() { _ = w.Close() }()
	g.watchDirs(w)
	quiet := time.NewTimer(settle)
	quiet.Stop()
	for {
		select {
		case e := <-w.Events:
			if g.concerns(e) {
				quiet.Reset(settle)
			}
		case err := <-w.Errors:
			g.o.Log.Warn("watch the configuration: some changes may have been missed, SIGHUP reloads", "err", err)
			quiet.Reset(settle)
		case <-quiet.C:
			g.watchDirs(w) // a new one may have come
			_ = g.reload(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

// watchDirs watches the directories that configuration is read from; adding one
// twice does no harm.
func (g *gateway) watchDirs(w *fsnotify.Watcher) {
	a := g.inForce.Get()
	dirs := map[string]bool{a.Dir: true, filepath.Join(a.Dir, "links"): true}
	for _, f := range a.Files {
		dirs[filepath.Dir(f)] = true
	}
	for dir := range dirs {
		if err := w.Add(dir); err != nil && dir == a.Dir {
			g.o.Log.Warn("watch the configuration: changes need a SIGHUP", "err", err)
		}
	}
}

// concerns tells whether an event can have changed the configuration: one of a
// YAML file, or of the links directory itself.
func (g *gateway) concerns(e fsnotify.Event) bool {
	if e.Op == fsnotify.Chmod {
		return false
	}
	switch filepath.Ext(e.Name) {
	case ".yaml", ".yml":
		return true
	}
	return filepath.Base(e.Name) == "links" && filepath.Dir(e.Name) == filepath.Clean(g.inForce.Get().Dir)
}
