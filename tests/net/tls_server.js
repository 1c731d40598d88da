// SPDX-License-Identifier: Apache-2.0
// A server of test_tls_servers.py: the files of a folder by their last name, and the sha256 of what is put.
"use strict";
const crypto = require("crypto");
const fs = require("fs");
const https = require("https");
const path = require("path");

const [port, chain, key, folder] = process.argv.slice(2);

https.createServer({cert: fs.readFileSync(chain), key: fs.readFileSync(key)}, (request, response) => {
	const hash = crypto.createHash("sha256");
	request.on("data", part => hash.update(part));
	request.on("end", () => {
		if (request.method === "PUT")
			response.end(hash.digest("hex"));
		else
			response.end(fs.readFileSync(path.join(folder, path.basename(request.url))));
	});
}).listen(Number(port), "0.0.0.0");
