package pg

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// ErrConnection says that a connection string cannot be understood. What it says
// holds no part of the string, which may hold a password.
var ErrConnection = errors.New("the connection string cannot be understood")

// A Conn says how to reach a database, in the parameters of libpq. What it does
// not say libpq takes from the environment, a service file, or its defaults.
type Conn struct {
	params   map[string]string
	password string
}

// Parse reads what a person gives as a database as libpq does: a URI
// (postgresql://… or postgres://…), a connection string of keywords and values if it
// holds a "=", or else a database's name.
func Parse(database string) (Conn, error) {
	if rest, ok := uri(database); ok {
		return parseURI(rest)
	}
	if strings.Contains(database, "=") {
		return parseKeywords(database)
	}
	return Named(database), nil
}

// Named is the database of exactly that name, whatever it looks like; with ""
// no database is named.
func Named(database string) Conn {
	var c Conn
	c.set("dbname", database)
	return c
}

// set sets a parameter; "" is none.
func (c *Conn) set(key, value string) {
	if c.params == nil {
		c.params = map[string]string{}
	}
	switch {
	case key == "password":
		c.password = value
	case value == "":
		delete(c.params, key)
	default:
		c.params[key] = value
	}
}

// Get is the value of a parameter; "" if c does not say.
func (c Conn) Get(key string) string { return c.params[key] }

// With is c with a parameter set to a value; "" leaves it to libpq.
func (c Conn) With(key, value string) Conn {
	c.params = maps.Clone(c.params)
	c.set(key, value)
	return c
}

// Or is c with a parameter set to a value if c says nothing of it.
func (c Conn) Or(key, value string) Conn {
	if c.params[key] != "" {
		return c
	}
	return c.With(key, value)
}

// String is the connection string, without a password. It is safe to be given
// as --dbname, whatever the database is called.
func (c Conn) String() string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(c.params)) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s='%s'", key, valueEscaper.Replace(c.params[key]))
	}
	return b.String()
}

// Arguments tell a program of PostgreSQL where to connect to. There are none if c
// says nothing: an empty connection string would hide what the environment says.
func (c Conn) Arguments() []string {
	if len(c.params) == 0 {
		return nil
	}
	return []string{"--dbname=" + c.String()}
}

var valueEscaper = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

// environ is the environment of a program that connects. Messages are in
// English, for they are looked at.
func (c Conn) environ() []string {
	env := append(os.Environ(), "LC_MESSAGES=C", "LC_ALL=C")
	if c.password != "" {
		env = append(env, "PGPASSWORD="+c.password)
	}
	return env
}

// hide takes the password out of what a program said.
func (c Conn) hide(s string) string {
	if c.password == "" {
		return s
	}
	return strings.ReplaceAll(s, c.password, "…")
}

// parseKeywords reads "host=db1 dbname='my orders'": libpq's PQconninfoParse.
func parseKeywords(s string) (c Conn, err error) {
	for s = strings.TrimLeft(s, space); s != ""; s = strings.TrimLeft(s, space) {
		key, rest, ok := strings.Cut(s, "=")
		key = strings.TrimRight(key, space)
		if !ok || key == "" || !keyword(key) {
			return c, fmt.Errorf("%w: it is not made of KEYWORD=VALUE; a database whose name holds a \"=\" is given as dbname='NAME'", ErrConnection)
		}
		value, rest, ok := keywordValue(strings.TrimLeft(rest, space))
		if !ok {
			return c, fmt.Errorf("%w: the value of %s has a quote that is not closed", ErrConnection, key)
		}
		if err := c.param(key, value); err != nil {
			return c, err
		}
		s = rest
	}
	return c, nil
}

const space = " \t\n\r\v\f"

// keyword tells whether a word can be one of libpq's.
func keyword(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_0123456789") == ""
}

// keywordValue reads a value, in quotes or up to a space, with backslashes.
func keywordValue(s string) (value, rest string, ok bool) {
	end := space
	quoted := strings.HasPrefix(s, "'")
	if quoted {
		s, end = s[1:], "'"
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case strings.IndexByte(end, s[i]) >= 0 && quoted:
			return b.String(), s[i+1:], true
		case strings.IndexByte(end, s[i]) >= 0:
			return b.String(), s[i:], true
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] != '\\':
			b.WriteByte(s[i])
		}
	}
	return b.String(), "", !quoted
}

// secrets are the parameters of libpq, beside the password, that nobody else may
// see. No variable of the environment takes them.
var secrets = []string{"sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}

// param sets a parameter that a person gave.
func (c *Conn) param(key, value string) error {
	switch {
	case slices.Contains(secrets, key):
		return fmt.Errorf("%w: the %s in it would be seen by others; put it into a service file", ErrConnection, key)
	case strings.ContainsRune(value, 0):
		return fmt.Errorf("%w: the value of %s holds a zero byte", ErrConnection, key)
	}
	c.set(key, value)
	return nil
}
