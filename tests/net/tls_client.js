// SPDX-License-Identifier: Apache-2.0
// A client of test_tls_clients.py: pages, a large body each way, on kept and on new connections; what came, as JSON.
"use strict";
const crypto = require("crypto");
const fs = require("fs");
const https = require("https");

const [address, port, name, ca, version, upload, target] = process.argv.slice(2);

function makeAgent(keepAlive) {
	return new https.Agent({
		keepAlive,
		maxSockets: 1,
		ca: fs.readFileSync(ca),
		minVersion: version,
		maxVersion: version,
	});
}

function ask(agent, method, path, body) {
	return new Promise((resolve, reject) => {
		const request = https.request({host: address, port, servername: name, agent, method, path, headers: {host: name}});
		request.on("error", reject);
		request.on("response", response => {
			const hash = crypto.createHash("sha256");
			const seen = {
				status: response.statusCode,
				version: response.socket.getProtocol(),
				is_reused: request.reusedSocket,
				is_resumed: response.socket.isSessionReused(),
			};
			response.on("data", part => hash.update(part));
			response.on("aborted", () => reject(new Error("the response was cut short")));
			response.on("error", reject);
			response.on("end", () => resolve({...seen, sha256: hash.digest("hex")}));
		});
		request.end(body);
	});
}

(async () => {
	const kept = makeAgent(true), single = makeAgent(false);
	const results = [
		await ask(kept, "GET", "/page"),
		await ask(kept, "GET", "/big"),
		await ask(kept, "PUT", target, fs.readFileSync(upload)),
		await ask(single, "GET", "/page"),
		await ask(single, "GET", "/page"),
	];
	kept.destroy();
	console.log(JSON.stringify(results));
})().catch(error => {
	console.error(error);
	process.exit(1);
});
