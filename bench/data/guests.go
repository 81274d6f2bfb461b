package data

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Guests are the disks of guests, as qcow2: generations of one, each the state
// after the one before, and another guest.
type Guests struct {
	Generations []Item // two or three
	Other       Item
}

//go:embed guest.sh
var script string

const (
	quietInstall = "apt-get update -qq && apt-get install -y -qq --no-install-recommends "
	second       = quietInstall + "mariadb-server redis-server && rm -rf /usr/share/doc/* && head -c 20000000 /dev/urandom >/root/noise && apt-get clean"
	third        = quietInstall + "golang-go && for i in $(seq 50); do head -c 200000 /dev/urandom >/var/log/noise$i; done && apt-get clean"
)

// Guests makes the guests.
func (m Maker) Guests(ctx context.Context) (g Guests, err error) {
	first, err := m.guest(ctx, "guest-1.qcow2", "new", "10G", "build-essential,nginx,postgresql,git,linux-image-amd64,python3,vim-nox")
	if err != nil {
		return g, err
	}
	paths := []string{first}
	for i, commands := range []string{second, third} {
		next, err := m.guest(ctx, fmt.Sprintf("guest-%d.qcow2", i+2), "next", paths[i], commands)
		if err != nil {
			return g, err
		}
		paths = append(paths, next)
	}
	other, err := m.guest(ctx, "other.qcow2", "new", "8G", "apache2,php,nodejs,samba")
	if err != nil {
		return g, err
	}
	return given(append(paths, other), []string{
		"Debian 12 with a compiler, a web server and PostgreSQL",
		"the same after MariaDB and Redis were installed, documentation was removed, and 20 MB of noise",
		"the same after Go was installed, and 10 MB of noise in 50 logs",
		"another Debian 12, with Apache, PHP, Node.js and Samba",
	})
}

func (m Maker) guest(ctx context.Context, name, how, a, b string) (string, error) {
	return m.make(name, func(temp string) error {
		args := []string{"-c", script, "guest.sh", how, a, temp, b}
		if how == "new" {
			args = []string{"-c", script, "guest.sh", how, temp, a, b}
		}
		return run(ctx, "bash", args...)
	})
}

// Given takes guests that there are: generations of one in their order, two or
// three, and then another.
func Given(paths []string) (Guests, error) {
	if len(paths) != 3 && len(paths) != 4 {
		return Guests{}, fmt.Errorf("%d guests are given: give two or three generations of one, and then another guest, as qcow2", len(paths))
	}
	about := make([]string, len(paths))
	for i, path := range paths {
		about[i] = "given: " + filepath.Base(path)
	}
	return given(paths, about)
}

func given(paths, about []string) (g Guests, err error) {
	names := []string{"guest", "guest, next generation", "guest, third generation"}
	for i, path := range paths {
		if path, err = filepath.Abs(path); err != nil {
			return g, err
		}
		if filepath.Ext(path) != ".qcow2" {
			return g, fmt.Errorf("guest %s: want a file with the suffix .qcow2", path)
		}
		if i == len(paths)-1 {
			g.Other, err = item("another guest", path, about[i])
			return g, err
		}
		it, err := item(names[i], path, about[i])
		if err != nil {
			return g, err
		}
		g.Generations = append(g.Generations, it)
	}
	return g, nil
}

// Raw is a guest's disk as a raw file with holes.
func (m Maker) Raw(ctx context.Context, guest Item) (Item, error) {
	st, err := os.Stat(guest.Path)
	if err != nil {
		return Item{}, err
	}
	// Of another file that is given the next time another is made.
	name := "raw-" + strconv.FormatInt(st.Size(), 36) + strconv.FormatInt(st.ModTime().UnixNano(), 36) + ".raw"
	path, err := m.make(name, func(temp string) error {
		return run(ctx, "qemu-img", "convert", "-O", "raw", guest.Path, temp)
	})
	if err != nil {
		return Item{}, err
	}
	return item(guest.Name+", raw", path, "its disk as a raw file with holes")
}
