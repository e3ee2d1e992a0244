// Package pages shows web pages of the cluster to a browser on this computer.
//
// A [Server] listens on 127.0.0.1, on one port for each page that somebody
// looks at. A port of its own leaves every path of a page as it is; only what
// names another machine must be led elsewhere:
//
//   - Redirects, and the redirects that WebHDFS writes into its answer
//     (noredirect=true), get the address of the other page on this computer.
//   - A script in each page (links.js) turns links that name the cluster into
//     ones to this server when a pointer or the focus comes upon them. So it
//     does not matter whether a link came as HTML or was made by a script. The
//     server then opens a port for that page and redirects to it.
//
// The page sees the browser's own Host header, so that what it makes of it is
// right on this computer.
//
// What a page can do, as ending an application, any program of this computer
// can do through the port, and so could any web site that the browser shows.
// Web sites are kept out: a request must name the port's own address as its
// host (a site whose name was made to point here does not), must come from no
// other origin, and must not be made by another site, a link to the page
// included. Other users of this computer are not kept out, as with ssh -L.
//
// Connections are made when they are needed, each by a new look at where the
// page is. When one fails, the browser gets a page that says why and tries
// again.
package pages
