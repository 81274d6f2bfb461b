package pg

import (
	"fmt"
	"net/url"
	"strings"
)

// uri returns what follows the scheme of a connection URI.
func uri(s string) (rest string, ok bool) {
	for _, scheme := range []string{"postgresql://", "postgres://"} {
		if rest, ok := strings.CutPrefix(s, scheme); ok {
			return rest, true
		}
	}
	return "", false
}

// parseURI reads [user[:password]@][host[:port],…][/database][?key=value&…], as
// libpq does (PostgreSQL's documentation, 34.1.1.2): several hosts become lists.
func parseURI(s string) (c Conn, err error) {
	s, query, _ := strings.Cut(s, "?")
	authority, database, _ := strings.Cut(s, "/")
	if user, hosts, ok := strings.Cut(authority, "@"); ok {
		authority = hosts
		user, password, _ := strings.Cut(user, ":")
		if err := c.decoded("user", user); err != nil {
			return c, err
		}
		if err := c.decoded("password", password); err != nil {
			return c, err
		}
	}
	if err := c.hosts(authority); err != nil {
		return c, err
	}
	if err := c.decoded("dbname", database); err != nil {
		return c, err
	}
	for pair := range strings.SplitSeq(query, "&") {
		key, value, ok := strings.Cut(pair, "=")
		switch {
		case pair == "":
			continue
		case !ok || !keyword(key):
			return c, fmt.Errorf("%w: what follows the ? of the URI is not made of KEYWORD=VALUE", ErrConnection)
		case key == "ssl" && value == "true":
			key, value = "sslmode", "require" // as JDBC has it; libpq takes it too
		}
		if err := c.decoded(key, value); err != nil {
			return c, err
		}
	}
	return c, nil
}

// hosts reads "db1:5432,[::1]".
func (c *Conn) hosts(authority string) error {
	var hosts, ports []string
	given := false
	for one := range strings.SplitSeq(authority, ",") {
		host, port := one, ""
		if v6, rest, ok := strings.Cut(one, "]"); ok && strings.HasPrefix(one, "[") {
			host, port = v6[1:], strings.TrimPrefix(rest, ":")
		} else if i := strings.LastIndexByte(one, ':'); i >= 0 {
			host, port = one[:i], one[i+1:]
		}
		if strings.Trim(port, "0123456789") != "" {
			return fmt.Errorf("%w: a port of the URI is no number; a \":\", \"@\" or \"/\" in a password is written as %%3A, %%40 or %%2F", ErrConnection)
		}
		hosts, ports, given = append(hosts, host), append(ports, port), given || port != ""
	}
	if given {
		c.set("port", strings.Join(ports, ","))
	}
	return c.decoded("host", strings.Join(hosts, ","))
}

// decoded sets a parameter whose value is percent-encoded.
func (c *Conn) decoded(key, value string) error {
	plain, err := url.PathUnescape(value)
	if err != nil {
		return fmt.Errorf("%w: its %s holds a %% that two hexadecimal digits must follow", ErrConnection, key)
	}
	return c.param(key, plain)
}
