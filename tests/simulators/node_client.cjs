// Send HL7 messages with a Node client and print its answers, a JSON line each: {"code", "control_id"}.
//   NODE_PATH=bench/node_modules node node_client.cjs HOST PORT simple-hl7|@medplum/hl7 FILE...
// Each message is read and written by the library itself, so that what goes out is what its users send.
const fs = require('fs')
const [, , host, port, which, ...files] = process.argv

async function simple() {
  const hl7 = require('simple-hl7')
  const parser = new hl7.Parser({ segmentSeperator: '\r' })
  for (const file of files) {
    const client = hl7.Server.createTcpClient(host, +port)
    const answer = await new Promise((resolve, reject) => {
      client.send(parser.parse(fs.readFileSync(file, 'utf8')), (error, ack) => (error ? reject(error) : resolve(ack)))
    })
    const msa = answer.getSegment('MSA')
    tell(msa.getField(1), msa.getField(2))
  }
}

async function medplum() {
  const { Hl7Client } = require('@medplum/hl7')
  const { Hl7Message } = require('@medplum/core')
  const client = new Hl7Client({ host, port: +port, keepAlive: true })
  for (const file of files) {
    const answer = await client.sendAndWait(Hl7Message.parse(fs.readFileSync(file, 'utf8')), { timeoutMs: 30000 })
    const msa = answer.getSegment('MSA')
    tell(msa.getField(1).toString(), msa.getField(2).toString())
  }
  await client.close()
}

function tell(code, controlId) {
  console.log(JSON.stringify({ code, control_id: controlId }))
}

const run = which === 'simple-hl7' ? simple : medplum
run().then(() => process.exit(0), (error) => { console.error(error); process.exit(1) })
