"""A scripted Messages API on loopback: argv SCRIPT LOG. Prints its port; answers each request with the script's next tool call, and logs each tool's result."""
import json,sys,http.server,threading
script=json.load(open(sys.argv[1])); log=open(sys.argv[2],'w')
class H(http.server.BaseHTTPRequestHandler):
    protocol_version='HTTP/1.1'
    def log_message(self,*a): pass
    def do_GET(self): self.out(b'{"data":[]}')
    def do_HEAD(self): self.out(b'')
    def out(self,b,ct='application/json'):
        self.send_response(200); self.send_header('content-type',ct); self.send_header('content-length',str(len(b))); self.end_headers(); self.wfile.write(b)
    def do_POST(self):
        body=self.rfile.read(int(self.headers.get('content-length',0)))
        try: req=json.loads(body)
        except Exception: return self.out(b'{}')
        if 'count_tokens' in self.path: return self.out(b'{"input_tokens":10}')
        if not self.path.startswith('/v1/messages'): return self.out(b'{}')
        n=0
        for m in req['messages']:
            if m['role']=='user' and isinstance(m['content'],list):
                for c in m['content']:
                    if c.get('type')=='tool_result': n+=1; last=c
        tools=req.get('tools') or []
        if n: log.write(json.dumps({'n':n,'result':last.get('content')})+'\n'); log.flush()
        if tools and n<len(script): blocks=[{'type':'tool_use','id':'toolu_%d'%n,'name':script[n]['name'],'input':script[n]['input']}]; stop='tool_use'
        else: blocks=[{'type':'text','text':'done'}]; stop='end_turn'
        msg={'id':'msg_1','type':'message','role':'assistant','model':req.get('model','m'),'content':[],'stop_reason':None,'stop_sequence':None,'usage':{'input_tokens':1,'output_tokens':1}}
        if not req.get('stream'):
            msg['content']=blocks; msg['stop_reason']=stop; return self.out(json.dumps(msg).encode())
        ev=[]
        def e(t,**k): ev.append('event: %s\ndata: %s\n\n'%(t,json.dumps({'type':t,**k})))
        e('message_start',message=msg)
        for i,b in enumerate(blocks):
            if b['type']=='text':
                e('content_block_start',index=i,content_block={'type':'text','text':''}); e('content_block_delta',index=i,delta={'type':'text_delta','text':b['text']})
            else:
                e('content_block_start',index=i,content_block={**b,'input':{}}); e('content_block_delta',index=i,delta={'type':'input_json_delta','partial_json':json.dumps(b['input'])})
            e('content_block_stop',index=i)
        e('message_delta',delta={'stop_reason':stop,'stop_sequence':None},usage={'output_tokens':1}); e('message_stop')
        self.out(''.join(ev).encode(),'text/event-stream')
s=http.server.ThreadingHTTPServer(('127.0.0.1',0),H); print(s.server_address[1],flush=True); s.serve_forever()
